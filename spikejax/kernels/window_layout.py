"""How the heads of a window attention lie side by side, as all of its forms know it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Heads:
    """The columns of queries, keys, values and results.

    Attributes:
        count: heads.
        depth: features of a head; head h has the columns from h * depth on.
        lanes: columns in all; those behind the heads' are zero.
        mutual: windows are two frames, and each is asked by the other one's queries: the result of a frame is that of
            the other frame's queries among its own keys. Otherwise all tokens of a window ask all.
    """

    count: int
    depth: int
    lanes: int
    mutual: bool = False

    @property
    def features(self) -> int:
        """The columns of the heads, zeros left out."""
        return self.count * self.depth

    @property
    def scale(self) -> float:
        """What queries are multiplied with."""
        return self.depth**-0.5


def largest_divisor(number: int, limit: int) -> int:
    """The largest divisor of `number` that is not above `limit`."""
    return next(divisor for divisor in range(min(number, limit), 0, -1) if number % divisor == 0)
