"""Data sets on disk: their layout, which of their frames can be used, and clips read from them."""
