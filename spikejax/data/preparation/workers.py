"""Work spread over processes: as it is done, and with its errors."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

# Windows waits for so many processes at once and no more.
_WINDOWS_LIMIT = 61

WorkItem = TypeVar("WorkItem")
Result = TypeVar("Result")


def run_parallel(function: Callable[[WorkItem], Result], tasks: Sequence[WorkItem], workers: int) -> Iterator[Result]:
    """Yields the results as they come, in any order; with fewer than two workers in this process.

    The first exception of a task is raised here, with its traceback in the worker, and no further task is begun; those
    under way are finished. A worker that dies is a `concurrent.futures.process.BrokenProcessPool`.

    Args:
        function: at the top level of a module, as it is sent to other processes by name.
        tasks: its arguments.
        workers: number of processes.
    """
    if workers < 2 or len(tasks) < 2:
        yield from map(function, tasks)
        return
    # Fresh processes: threads such as tensorstore's do not survive a fork.
    context = multiprocessing.get_context("spawn")
    count = min(workers, len(tasks), _WINDOWS_LIMIT if sys.platform == "win32" else workers)
    with ProcessPoolExecutor(count, context, initializer=_leave_interrupts_to_the_parent) as pool:
        pending = [pool.submit(function, task) for task in tasks]
        try:
            for future in as_completed(pending):
                yield future.result()
        except BaseException:  # Ctrl-C, and a caller that wants no more, too
            pool.shutdown(cancel_futures=True)
            raise


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
