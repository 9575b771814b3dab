"""Kernels for accelerators, one module for each, and the one function that chooses between them and plain JAX."""
