"""The terminal's view of a run: one line at a time, readable at 80 columns."""

import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Mapping

from spikejax.progress import Pace, shows_json
from spikejax.quality.metrics import AFTER, BEFORE, measured_metrics, metric_named


class Terminal:
    """Prints what a run is and does: how far training is, how fast, and how long it will take.

    The first update of a process compiles for a long time, so the clock starts when it is done. Time spent elsewhere
    (validation) is in the estimate, since there will be more of it.
    """

    def __init__(self, total: int, *, show: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        """Prints nothing yet.

        Args:
            total: updates of the whole run.
            show: whether to print; of many hosts one does.
            clock: says seconds.
        """
        self.pace = Pace(total, unit="step", clock=clock)
        self._total, self._show, self._clock = total, show, clock
        self._begin = clock()

    def elapsed(self) -> float:
        """Seconds since this object was made."""
        return self._clock() - self._begin

    def update(self, step: int, loss: float, terms: Mapping[str, float]) -> None:
        """Prints the line for `step` updates done, and its JSON; of a loss of several terms each is named."""
        line = f"step {step:>{len(str(self._total))}}/{self._total} {100 * step // self._total:3d}%  loss {loss:.5f}"
        if len(terms) > 1:
            line += " = " + " + ".join(f"{name} {value:.5f}" for name, value in terms.items())
        pace = self.pace.text(step)
        self.note(f"{line}  {pace}" if pace else line)
        if self._show and shows_json():
            print(self.pace.standing("training", step).json_line(), file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        """Prints a line at once, also into a pipe or a file; a terminal gets it broken between words."""
        if not self._show:
            return
        if sys.stdout.isatty():
            width = shutil.get_terminal_size().columns
            text = textwrap.fill(text, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
        print(text, flush=True)


def summary(scores: Mapping[str, float]) -> str:
    """A validation's scores before and after, with the gain in those that have a unit."""
    parts = []
    for name in measured_metrics(scores):
        metric, before, after = metric_named(name), scores[f"{name}_{BEFORE}"], scores[f"{name}_{AFTER}"]
        if metric.headline:
            gain = f" ({after - before:+.{metric.digits}f})" if metric.unit else ""
            parts.append(f"{metric.title} {metric.text(before)} -> {metric.text(after)}{metric.unit_text}{gain}")
    return ", ".join(parts)
