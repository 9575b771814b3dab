"""Restored tiles that are not finite: computed again in float32 and, where that does not help, taken for no picture.

Such a number would become black when a frame becomes whole numbers, in all of the overlap with other tiles too. A fault
of the hardware, or features that leave the range of bfloat16, do not come again in float32; a network with such numbers
among its parameters has them there too.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator

import jax
import numpy as np
from jaxtyping import Float32, Num

from spikejax.errors import InputError
from spikejax.inference.clip_blending import CutTile
from spikejax.inference.compiled_network import TileArrays

_Answer = Float32[np.ndarray, "t h w 3"]


class FiniteTiles:
    """Looks at every restored tile before it is blended.

    Attributes:
        again: how many tiles were not finite and were computed again.
        black: how many of these were not finite again; not more than 0 unless that is allowed.
    """

    def __init__(
        self,
        compute_again: Callable[[CutTile], _Answer],
        *,
        interpolates: bool = False,
        upscale: int = 1,
        blacken: bool = False,
    ) -> None:
        """Has seen no tile yet.

        Args:
            compute_again: the tile, restored in float32.
            interpolates: whether an answer is the frame in the middle of its tile.
            upscale: size of the answers over that of the tiles.
            blacken: whether what is not finite even then becomes black, as in a validation, which only counts it.
        """
        self._compute_again, self._interpolates, self._upscale = compute_again, interpolates, upscale
        self._blacken = blacken
        self.again = self.black = 0

    def restored(
        self, cuts: Iterable[CutTile], restore: Callable[[Iterator[TileArrays]], Iterator[_Answer]]
    ) -> Iterator[_Answer]:
        """Yields the restored tiles, in order, all of them finite.

        Args:
            cuts: the tiles.
            restore: the network; it may take some tiles before it yields any.

        Raises:
            FloatingPointError: a tile is not finite in float32 either; says where.
            InputError: the input is not finite.
        """
        waiting: deque[CutTile] = deque()

        def arrays() -> Iterator[TileArrays]:
            for cut in cuts:
                waiting.append(cut)
                yield cut.arrays

        for answer in restore(arrays()):
            cut = waiting.popleft()
            yield answer if is_finite(answer) else self._finite(cut)

    def _finite(self, cut: CutTile) -> _Answer:
        frames, _ = cut.arrays
        if not is_finite(frames):
            raise InputError(f"expected finite numbers, found others in the input at {self._place(cut, frames, 1)}")
        if not (self.again or self._blacken):
            print("spikejax: note: a restored tile is not finite, computing it again in float32", file=sys.stderr)
        self.again += 1
        try:
            answer = self._compute_again(cut)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            raise FloatingPointError(
                f"expected finite pictures from the network, found others in {self._frame(cut, 0)}, which do not fit "
                "into the device's memory in float32"
            ) from error
        if is_finite(answer):
            return answer
        self.black += 1
        if not self._blacken:
            where = self._place(cut, answer, self._upscale)
            raise FloatingPointError(f"expected finite pictures from the network, in float32 too, found {where}")
        return np.nan_to_num(answer, nan=0.0, posinf=0.0, neginf=0.0)

    def _place(self, cut: CutTile, values: Num[np.ndarray, "t h w c"], scale: int) -> str:
        """Where the first number of a tile is that is not finite, and which it is."""
        upright = cut.variant.undo(values)
        number, row, column, channel = np.argwhere(~np.isfinite(upright))[0].tolist()
        value = upright[number, row, column, channel]
        row, column = row + cut.box.top * scale, column + cut.box.left * scale
        return f"{value} in {self._frame(cut, number)} at row {row}, column {column}"

    def _frame(self, cut: CutTile, number: int) -> str:
        """The frame of the input, or the two between which the answer lies."""
        if not self._interpolates:
            return f"frame {cut.first_frame + number}"
        return f"the frame between {cut.first_frame} and {cut.first_frame + 1}"


def is_finite(values: Num[np.ndarray, "*shape"]) -> bool:
    """Whether all numbers are; in one pass, without an array of as many answers."""
    if np.issubdtype(values.dtype, np.integer):
        return True
    with np.errstate(over="ignore", invalid="ignore"):
        # A sum is not finite where a number is not; where only the sum is not, each number tells.
        return bool(np.isfinite(values.sum())) or bool(np.isfinite(values).all())
