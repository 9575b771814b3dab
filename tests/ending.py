"""How long a process takes to end, by the pauses that a test makes meanwhile."""

import subprocess
import time

_PAUSE, _PATIENCE = 0.05, 240.0


def seconds_to_end(process: subprocess.Popen) -> float:
    """Waits for a process, at most four minutes; a longer pause, on a machine that stands still, counts as two.

    Raises:
        subprocess.TimeoutExpired: it does not end.
    """
    seconds, end = 0.0, time.monotonic() + _PATIENCE
    while process.poll() is None:
        before = time.monotonic()
        if before > end:
            raise subprocess.TimeoutExpired(process.args, _PATIENCE)
        time.sleep(_PAUSE)
        seconds += min(time.monotonic() - before, 2 * _PAUSE)
    return seconds
