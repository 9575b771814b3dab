"""The terminal's view of a run: one line at a time, readable at 80 columns."""

import time
from collections.abc import Callable, Mapping


class Progress:
    """Prints how far training is, how fast, and how long it will take.

    The first update of a process compiles for a long time, so the clock starts when it is done (`start`). Time spent
    elsewhere (validation) is in the estimate, since there will be more of it.
    """

    def __init__(self, total: int, *, show: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        self._total = total
        self._show = show
        self._clock = clock
        self._begin = clock()
        self._first: tuple[int, float] | None = None

    @property
    def started(self) -> bool:
        """Whether `start` was called."""
        return self._first is not None

    def elapsed(self) -> float:
        """Seconds since this object was made."""
        return self._clock() - self._begin

    def start(self, step: int) -> None:
        """Starts the clock, with `step` updates done."""
        self._first = (step, self._clock())

    def update(self, step: int, loss: float) -> None:
        """Prints the line for `step` updates done."""
        line = f"step {step:>{len(str(self._total))}}/{self._total} {100 * step // self._total:3d}%  loss {loss:.5f}"
        if self._first is not None and step > self._first[0]:
            seconds = (self._clock() - self._first[1]) / (step - self._first[0])
            line += f"  {rate(seconds)}  {duration(seconds * (self._total - step))} left"
        self.note(line)

    def note(self, text: str) -> None:
        """Prints a line at once, also into a pipe or a file; of many hosts one shows it."""
        if self._show:
            print(text, flush=True)


def rate(seconds_per_step: float) -> str:
    """Returns steps per second, or seconds per step where that is the larger number."""
    if seconds_per_step > 1:
        return f"{seconds_per_step:.1f} s/step"
    return f"{1 / max(seconds_per_step, 1e-9):.1f} step/s"


def duration(seconds: float) -> str:
    """Returns a length of time in its two largest units."""
    whole = round(seconds)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60:02d} min"
    if minutes:
        return f"{minutes} min {whole % 60:02d} s"
    return f"{whole} s"


def summary(scores: Mapping[str, float]) -> str:
    """Returns a validation's scores before and after."""
    gain = scores["psnr_recon"] - scores["psnr_blur"]
    return (
        f"PSNR {scores['psnr_blur']:.2f} -> {scores['psnr_recon']:.2f} dB ({gain:+.2f}), "
        f"SSIM {scores['ssim_blur']:.4f} -> {scores['ssim_recon']:.4f}"
    )
