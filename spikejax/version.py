"""The version of this package, on its own, so that any room may say it."""

__version__ = "0.1.0"
