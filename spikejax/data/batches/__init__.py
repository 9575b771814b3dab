"""Batches: random crops and turns of clips, drawn by a seed, in the background."""
