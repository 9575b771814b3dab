"""A spike camera and a blurring camera looking at the same simulated light."""
