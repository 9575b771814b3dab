"""How the heads of a window attention lie side by side, as all of its forms know it."""

from dataclasses import dataclass

from jax import Array


@dataclass(frozen=True)
class Heads:
    """The columns of queries, keys, values and results.

    Attributes:
        count: heads.
        depth: features of a head; head h has the columns from h * depth on.
        lanes: columns in all; those behind the heads' are zero.
        mutual: windows are two frames, and each is asked by the other one's queries: the result of a frame is that of
            the other frame's queries among its own keys. Otherwise all tokens of a window ask all.
        masked: the masks are in the columns behind the heads' already.
    """

    count: int
    depth: int
    lanes: int
    mutual: bool = False
    masked: bool = False

    @property
    def features(self) -> int:
        """The columns of the heads, zeros left out."""
        return self.count * self.depth

    @property
    def scale(self) -> float:
        """What queries are multiplied with."""
        return self.depth**-0.5


# Of tokens to queries, keys and values: kernel, bias, and what is added to the tokens first, if anything is.
Projections = tuple[tuple[Array, Array, Array | None], ...]
# Rows and columns of the windows that kernels cut clips into.
SIDE = 8


@dataclass(frozen=True)
class Cut:
    """How a clip is cut into windows of [frames, 8, 8] tokens, in the order of `spikejax.models.attention.partition`.

    Attributes:
        frames: of a window; zero frames behind the clip fill the last one up.
        shift: frames, rows and columns by which windows are shifted, where they are: 0, or half of them.
    """

    frames: int
    shift: tuple[int, int, int]

    @property
    def tokens(self) -> int:
        """Of a window."""
        return self.frames * SIDE**2

    def windows(self, frames: int) -> int:
        """In a sequence of so many frames."""
        return -(-frames // self.frames)

    def filled(self, frames: int) -> int:
        """So many frames with the zero ones behind them."""
        return self.windows(frames) * self.frames


def largest_divisor(number: int, limit: int) -> int:
    """The largest divisor of `number` that is not above `limit`."""
    return next(divisor for divisor in range(min(number, limit), 0, -1) if number % divisor == 0)
