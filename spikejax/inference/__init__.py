"""Restoring videos of any size and length with a network: tiles, streaming, figures."""
