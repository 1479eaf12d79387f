"""Several runs of rsync at once: so many workers, so many starts in a period, one end for all of them."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait

from barman import clock
from barman.transport.rsync import CopyResult, RsyncCopy, RsyncJob
from barman.typing import TYPE_CHECKING
from barman.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from barman.transport.rsync import Item

_TICK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """How to run rsync; `launcher` is a command that becomes rsync and ties it to the life of this process."""

    workers: int = 1
    start_batch_size: int = 10
    start_batch_period: float = 1.0
    retries: int = 0
    pause: float = 30.0
    program: str = "rsync"
    launcher: tuple[str, ...] = ()
    environment: Mapping[str, str] | None = None


class RsyncPool:
    """Runs jobs; when one fails, or the main thread is interrupted, none is left running."""

    def __init__(
        self,
        options: PoolOptions,
        *,
        on_item: Callable[[Item], None] | None = None,
        on_tick: Callable[[], None] | None = None,
    ) -> None:
        """Get ready; `on_item` is called by several threads, `on_tick` twice a second by the one that waits."""
        self._options = options
        self._on_item = on_item
        self._on_tick = on_tick
        self._lock = threading.Lock()
        self._running: set[RsyncCopy] = set()
        self._cancelled = False
        self._failure: BaseException | None = None
        self._starts: deque[float] = deque(maxlen=max(1, options.start_batch_size))

    def run(self, jobs: Sequence[RsyncJob]) -> list[CopyResult]:
        """Run every job and return what each did. Raises what the first failing one raises."""
        return self.call([self._runner(job) for job in jobs])

    def call(self, tasks: Sequence[Callable[[], CopyResult]]) -> list[CopyResult]:
        """Run functions that prepare something and then `copy` it, as many at once as there are workers."""
        if not tasks:
            return []
        with ThreadPoolExecutor(max(1, min(self._options.workers, len(tasks))), thread_name_prefix="rsync") as pool:
            futures = [pool.submit(self._guarded, task) for task in tasks]
            try:
                self._wait(futures)
            except BaseException:
                self.cancel()
                for future in futures:
                    future.cancel()
                raise
        return [future.result() for future in futures]

    def copy(self, job: RsyncJob) -> CopyResult:
        """Run one job in this thread. Raises CommandFailed."""
        options = self._options
        run = RsyncCopy(
            job,
            program=options.program,
            launcher=options.launcher,
            environment=options.environment,
            on_item=self._on_item,
        )
        self._take_turn(run)
        try:
            return run.run(retries=options.retries, pause=options.pause)
        finally:
            with self._lock:
                self._running.discard(run)

    def cancel(self) -> None:
        """End every rsync and start no other."""
        with self._lock:
            self._cancelled = True
            running = list(self._running)
        for run in running:
            run.cancel()

    def _guarded(self, task: Callable[[], CopyResult]) -> CopyResult:
        """Run a task; its failure ends the others before this thread could take up the next one."""
        try:
            return task()
        except BaseException as error:
            with self._lock:
                self._failure = self._failure or error
            self.cancel()
            raise

    def _runner(self, job: RsyncJob) -> Callable[[], CopyResult]:
        return lambda: self.copy(job)

    def _wait(self, futures: Sequence[Future[CopyResult]]) -> None:
        pending: Iterable[Future[CopyResult]] = futures
        while pending:
            done, pending = wait(pending, timeout=_TICK_SECONDS, return_when=FIRST_EXCEPTION)
            for future in done:
                error = future.exception()
                if error is not None:
                    raise self._failure or error
            if self._on_tick is not None:
                self._on_tick()

    def _take_turn(self, run: RsyncCopy) -> None:
        """Wait until the limit on starts allows another one: at most a batch in any period."""
        while True:
            with self._lock:
                if self._cancelled:
                    run.cancel()
                now = clock.monotonic()
                full = len(self._starts) == self._starts.maxlen
                free_at = self._starts[0] + self._options.start_batch_period if full else now
                if self._cancelled or free_at <= now:
                    self._starts.append(now)
                    self._running.add(run)
                    return
            clock.sleep(min(0.2, free_at - now))
