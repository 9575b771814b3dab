"""PyTorch weights and ours: how the keys and the layouts of the one become those of the other, both ways, without PyTorch."""
