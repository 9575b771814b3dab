"""Video restoration with spike cameras: VRT and its spike branch in JAX and Flax."""

__version__ = "0.1.0"
