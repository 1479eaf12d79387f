"""Bounded threads: work in parallel, results in order, the first failure cancels the rest."""

from __future__ import annotations

import os
from collections import deque

from barman.typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

T = TypeVar("T")
R = TypeVar("R")


def cpu_count() -> int:
    """Return how many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


class Task(Generic[R]):
    """One call on a thread of its own, begun at once. A process that ends does not wait for it."""

    def __init__(self, call: Callable[[], R]) -> None:
        import threading

        self._call = call
        self._outcome: list[R] = []
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._outcome.append(self._call())
        except BaseException as error:  # noqa: BLE001  raised again by result(), in the thread that asks
            self._failure = error

    def result(self) -> R:
        """Wait for the call; return what it returned or raise what it raised."""
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        return self._outcome[0]


_own: threading.local | None = None
"""What a thread of a pool knows of the map that it works for."""


def is_abandoned() -> bool:
    """Tell whether nobody wants any more what this thread works at: what would go on for long ends then."""
    abandoned = getattr(_own, "abandoned", None)
    return abandoned is not None and abandoned.is_set()


def ordered_map(
    function: Callable[[T], R], items: Iterable[T], jobs: int | None = None, window: int | None = None
) -> Iterator[R]:
    """Yield `function(item)` in the order of the items, computed by `jobs` threads (default: one a processor).

    At most `window` items (default twice the jobs) are taken ahead of the consumer, which bounds memory. The first
    exception is raised at its item's turn; work that has not started is then dropped, work that runs is waited for,
    and can see it by `is_abandoned()`.
    """
    jobs = jobs or cpu_count()
    if jobs <= 1:
        yield from map(function, items)
        return
    import threading
    from concurrent.futures import ThreadPoolExecutor

    global _own  # noqa: PLW0603  made with the first pool: threading costs what a short command has not
    own = _own = _own or threading.local()
    abandoned = threading.Event()

    def begin() -> None:
        own.abandoned = abandoned

    window = window or jobs * 2
    pending: deque[Future[R]] = deque()
    with ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="barman", initializer=begin) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) >= window:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except BaseException:
            abandoned.set()
            raise
        finally:
            for future in pending:
                future.cancel()
