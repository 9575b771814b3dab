"""Planning: the real training step, compiled for devices that are not here, and what it would need and take there."""
