"""Restoring videos of any size and length with a network: tiles, streams of frames, output that can be resumed."""
