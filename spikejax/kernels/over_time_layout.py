"""What is computed of a pixel's sequence of features, as all forms of the kernel know it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class OverTime:
    """What is computed of every pixel's sequence x, and of a sequence y that it asks.

    Attributes:
        heads: of the attention.
        asks: whether x asks y, which has a norm of its own; otherwise it asks itself.
        residual: whether the attention's result is added to x, or to x normalised.
    """

    heads: int
    asks: bool
    residual: bool = True
