"""Bounded threads: work in parallel, results in order, the first failure cancels the rest."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")
R = TypeVar("R")


def cpu_count() -> int:
    """Return how many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def ordered_map(
    function: Callable[[T], R], items: Iterable[T], jobs: int | None = None, window: int | None = None
) -> Iterator[R]:
    """Yield `function(item)` in the order of the items, computed by `jobs` threads (default: one a processor).

    At most `window` items (default twice the jobs) are taken ahead of the consumer, which bounds memory. The first
    exception is raised at its item's turn; work that has not started is then dropped, work that runs is waited for.
    """
    jobs = jobs or cpu_count()
    if jobs <= 1:
        yield from map(function, items)
        return
    window = window or jobs * 2
    pending: deque[Future[R]] = deque()
    with ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="barman") as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) >= window:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
