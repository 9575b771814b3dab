"""Sizes of blocks that Triton takes: powers of 2, from the smallest that its products have."""

SMALLEST_BLOCK = 16
_BLOCK = 64


def block_of(count: int) -> int:
    """The rows of a block of `count` of them, a multiple of the smallest block: the largest that divides them."""
    return next(size for size in (_BLOCK, 32, SMALLEST_BLOCK) if count % size == 0)


def power_of_2(size: int) -> int:
    """The columns of a block with `size` of them, of which the rest is masked."""
    return max(1 << (size - 1).bit_length(), SMALLEST_BLOCK)
