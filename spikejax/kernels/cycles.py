"""What the kernels for TPUs take: the cycles of their static schedules, which a plan reads from the compiled program.

XLA does not look into a kernel. Each states its own cycles in the metadata of its call, counted in the final code that
libtpu 0.0.42.1 makes for a v5e (JAX 0.10.2; bundles of the innermost loops times their rounds), free of stalls: a lower
bound.
"""

# The multiplications of a v5e in a cycle: 4 matrix units of 128 x 128.
MULTIPLICATIONS = 4 * 128 * 128
METADATA_NAME = "schedule_cycles"


def in_metadata(cycles: float) -> dict[str, str]:
    """The argument `metadata` of a `pallas_call` whose grid takes so many cycles in all."""
    return {METADATA_NAME: str(round(cycles))}


def cycles_of_windows(windows: int, tokens: int, heads: int, *, gradient: bool) -> float:
    """Of attention in windows.

    Counted for 6 heads of 16 to 20 features and 64, 128 and 384 tokens: 540, 750 and 3,961 to 4,090 cycles a window,
    and 807, 1,465 and 7,788 to 7,871 of the gradients; between them by the square of the tokens.
    """
    fixed, of_pair = (640, 0.0492) if gradient else (450, 0.0242)
    return windows * heads / 6 * (fixed + of_pair * tokens**2)


def cycles_of_sampling(tiles: float, groups_at_once: int, taps: int, *, gradient: bool) -> float:
    """Of sampling in tiles of 256 pixels, each from one patch of the picture.

    Counted for 4 groups of 6 channels at once and 9 taps: 393 + 4 x 79 cycles of a tile and 1,940 of a group's patch,
    and 1,359 + 4 x 79 and 4,100 of the gradients. What is of a patch goes with the taps.
    """
    of_tile, of_patch = (1_359, 4_100) if gradient else (393, 1_940)
    return tiles * (of_tile + groups_at_once * (79 + of_patch * taps / 9))


def cycles_of_sequences(blocks: int, frames: int, *, asks: bool, gradient: bool) -> float:
    """Of attention over time in blocks of 128 pixels.

    Counted for 5 frames of 96 features, of a sequence alone and of one that asks another.
    """
    counted = {(False, False): 10_015, (True, False): 10_606, (False, True): 20_252, (True, True): 21_500}
    return blocks * counted[asks, gradient] * frames / 5


def cycles_of_mlp(pixels: int, features: int, *, gradient: bool) -> float:
    """Of a norm and a gated MLP with twice as many hidden features, in blocks of 512 pixels.

    Counted for 96, 120 and 180 features, which are one and two registers' lanes: 2,145, 2,175 and 3,810 cycles, and
    4,050, 4,020 and 7,850 of the gradients. The matrix units take 768 and 1,920 of the forward ones.
    """
    counted = {1: (2_175, 4_050), 2: (3_810, 7_850)}
    return pixels / 512 * counted[-(-features // 128)][gradient]


def cycles_of_cutting(
    tokens: int, of_window: int, features: int, projections: int, *, into: bool, gradient: bool
) -> float:
    """Of what stands before (`into`) and behind the attention of so many tokens in all, in windows of `of_window`.

    Counted for windows of 5x8x8 and, with mutual attention (two projections), 2x8x8 tokens of 96 features, and 1x8x8 of
    180, which are two registers' lanes: before, 2.29, 4.26 and 6.78 cycles a token, and 3.85, 5.30 and 8.91 of the
    gradients; behind, 0.72, 0.89 and 1.70, and 1.25, 2.28 and 5.69. These formulas are within 15 % of them.
    """
    registers = -(-features // 128)
    if into and gradient:
        return tokens * registers * (2.4 + 1.45 * projections)
    if into:
        return tokens * (1.15 * registers + projections * (130 * registers / of_window + 0.6))
    if gradient:
        return tokens * (0.4 * registers + 130 * registers / of_window + 0.5 * projections)
    return tokens * registers * (0.55 + 0.17 * projections)


def cycles_of_convolution(pixels: int, *, gradient: bool) -> float:
    """Of a 3x3x3 convolution to and from at most 128 features, in blocks of 2,048 pixels.

    Counted for 96 features and rows of 256 pixels: 1,626 cycles for 256 pixels, which are fewer than the 1,728 that the
    matrix units take for their 27 products, so these count; about 1,300 around them for a block, half of 2,386 in
    branches one of which is taken; and of the kernel's gradient 1,325 for each of 9 taps and about 3,000 around them.
    """
    return pixels / 2048 * (3_000 + 9 * 1_325 if gradient else 1_300 + 8 * 1_728)
