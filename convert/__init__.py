"""PyTorch weights and ours: how the keys and layouts of the one become those of the other, without PyTorch."""
