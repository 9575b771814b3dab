"""Reading ahead and writing behind: decoding, computing and writing at the same time, with little held in between."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from spikejax.distributed.stall_watch import DATA, WRITER, one_done, waiting_for

_T = TypeVar("_T")
# How often a thread that waits for room checks whether it is still needed.
_POLL_SECONDS = 0.2


class _End:
    """Follows the last item; carries what ended the thread, if it was an exception."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class ReadAhead(Generic[_T]):
    """Iterates over `items` in a thread of its own, at most `size` items ahead.

    Attributes:
        seconds: how long making the items took.
        waited: how long the reader had to wait for them.
    """

    def __init__(self, items: Iterable[_T], size: int, *, stop: Callable[[], None] = lambda: None) -> None:
        """Begins when it is running.

        Args:
            items: what is read.
            size: how many may be ready.
            stop: ends the waiting of `items` for what is next, where nobody wants it any more.
        """
        self._items, self._stop_waiting = items, stop
        self._ready: queue.Queue[Any] = queue.Queue(max(1, size))
        self._stopped = threading.Event()
        self.seconds = 0.0
        self.waited = 0.0

    @contextmanager
    def running(self) -> Iterator[Iterator[_T]]:
        """Yields the items' iterator; the thread has ended when the block has. The items' exceptions come out of it."""
        thread = threading.Thread(target=self._run, name="read ahead", daemon=True)
        thread.start()
        try:
            yield self._items_read()
        finally:
            self._stopped.set()
            self._stop_waiting()
            thread.join()

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            iterator = iter(self._items)
            while not self._stopped.is_set():
                started = time.perf_counter()
                try:
                    item = next(iterator)
                except StopIteration:
                    break
                finally:
                    self.seconds += time.perf_counter() - started
                self._offer(item)
        except BaseException as raised:  # noqa: BLE001, raised again by the reader
            error = raised
        self._offer(_End(error))

    def _offer(self, item: Any) -> None:
        while not self._stopped.is_set():
            try:
                return self._ready.put(item, timeout=_POLL_SECONDS)
            except queue.Full:
                continue

    def _items_read(self) -> Iterator[_T]:
        while True:
            started = time.perf_counter()
            with waiting_for(DATA):
                item = self._ready.get()
            self.waited += time.perf_counter() - started
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item


class WriteBehind(Generic[_T]):
    """Hands items to `write` in a thread of its own, which may be `size` items behind.

    Attributes:
        seconds: how long writing took.
    """

    def __init__(self, write: Callable[[_T], None], size: int) -> None:
        self._write = write
        self._waiting: queue.Queue[Any] = queue.Queue(max(1, size))
        self._error: BaseException | None = None
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[Callable[[_T], None]]:
        """Yields the function that takes items; the block ends when all that were taken are written.

        Raises:
            Exception: what `write` raised, at the next item or at the end.
        """
        thread = threading.Thread(target=self._run, name="write behind", daemon=True)
        thread.start()
        try:
            yield self._put
        finally:
            # Also after an exception: what is finished is worth keeping.
            with waiting_for(WRITER):
                self._waiting.put(_End(None))
                thread.join()
        if self._error is not None:
            raise self._error

    def _put(self, item: _T) -> None:
        if self._error is not None:
            raise self._error
        with waiting_for(WRITER):
            self._waiting.put(item)

    def _run(self) -> None:
        while not isinstance(item := self._waiting.get(), _End):
            if self._error is not None:
                continue  # only to let the other side go on to where it finds out
            started = time.perf_counter()
            try:
                self._write(item)
                one_done()  # frames may take longer to be written than to be restored
            except BaseException as raised:  # noqa: BLE001, raised again by the other side
                self._error = raised
            self.seconds += time.perf_counter() - started
