"""Fetch segments into the spool ahead of the recovery, in a process that goes on when the call that began it has ended.

One connection and one `barman get-wal` on the Barman host bring segment after segment. Nothing is read from it while
enough is ahead of the recovery, which says where it is in the spool; that stops the other end, too.
"""

from __future__ import annotations

import os

from barman.clients.fetching import FAILED, OK, Fetcher, Outcome, Unsound
from barman.clients.series import BrokenSeries, SeriesReader
from barman.clients.spool import following
from barman.errors import BarmanError, LockBusy
from barman.fs.spool import Draft, sweep_drafts
from barman.pipes import in_background
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from barman.clients.spool import Spool

UNSUPPORTED = "unsupported"
"""The Barman host does not know `--following`, or somebody else is at it."""

_OPTION = "--following"
_MOST = 4096
_AT_ONCE = 4
_IDLE_SECONDS = 20.0
"""A recovery that asks for nothing for so long has ended, or has no use for speed."""

_PAUSE = 0.02
_KEPT_SECONDS = 10
"""How long the connection stays open after its last use where each segment needs a call of its own."""


class _EnoughError(BarmanError):
    """Nobody wants what would come next."""


class Ahead:
    """Fills one spool with what its recovery will ask for."""

    def __init__(self, spool: Spool, fetcher: Fetcher, count: int) -> None:
        self._spool = spool
        self._fetcher = fetcher
        self._count = count
        self._told: Callable[[Outcome], object] = _nobody
        self._first = ""
        self._draft: Draft | None = None
        self._name = ""
        self._size = 0
        self._is_asked_for = False

    def fetch(self, name: str) -> Outcome:
        """Bring a segment into the spool, and go on with those after it when this call has ended.

        What is answered is what is known of that one segment; OK means that it is in the spool. UNSUPPORTED says
        nothing about it.
        """
        reading, writing = os.pipe()

        def tell(outcome: Outcome) -> None:
            self._told = _nobody
            text = f"{outcome.kind}\n{outcome.status}\n{int(outcome.is_final)}\n{outcome.reason}"
            os.write(writing, text.encode("utf-8", "replace")[:4000])
            os.close(writing)

        self._told, self._is_asked_for = tell, True
        try:
            started = self._in_background(name)
        finally:
            os.close(writing)
        told = b""
        try:
            while data := os.read(reading, 4096):
                told += data
        finally:
            os.close(reading)
        words = told.decode("utf-8", "replace").split("\n", 3)
        if not started:
            return Outcome(UNSUPPORTED)
        if len(words) != 4:
            return Outcome(FAILED, 2, "the process that fetches was ended", is_final=False)
        return Outcome(words[0], int(words[1]), words[3], is_final=words[2] == "1")

    def start(self, name: str) -> None:
        """Begin with a segment, and do not wait for it."""
        self._in_background(name)

    # -- in the background

    def _in_background(self, name: str) -> bool:
        """Go on in another process; False when somebody is at it already."""
        from barman.fs.lock import FileLock

        lock = FileLock(self._spool.lock_path)
        try:
            lock.acquire()
        except LockBusy:
            return False
        in_background(lambda: self._run(name))
        lock.leave_to_child()
        return True

    def _run(self, name: str) -> None:
        """Nothing that fails here is lost: the recovery asks for it again, and is told then."""
        try:
            sweep_drafts(self._spool.directory)
            outcome = Outcome(UNSUPPORTED) if self._spool.is_unsupported() else self._stream(name)
            self._told(outcome)
            if outcome.kind == UNSUPPORTED:
                self._spool.mark_unsupported()
                if not self._is_asked_for:
                    self._fill()
        except (BarmanError, OSError) as error:
            self._told(Outcome(FAILED, 2, str(error), is_final=False))

    def _stream(self, name: str) -> Outcome:
        """Read a series that begins with a segment, as long as somebody wants it."""
        self._first = name
        reader = SeriesReader(self._begin, self._write, self._end)
        command = self._fetcher.command(name, _OPTION, f"'{_MOST}'")
        try:
            ended = self._fetcher.converse(command, reader.feed)
        except _EnoughError:
            return Outcome(OK)
        except (BrokenSeries, Unsound) as error:
            return self._fetcher.unsound(error)
        finally:
            if self._draft is not None:
                self._draft.__exit__()
        if not self._first:
            return Outcome(OK)
        if ended.status not in (0, 1, 255) and _OPTION in ended.error_text:
            return Outcome(UNSUPPORTED)
        if ended.status == 0:
            return self._fetcher.unsound(BrokenSeries("nothing came"))
        return self._fetcher.judge(name, ended)

    def _begin(self, name: str) -> None:
        if name != (self._first or following(self._name, self._size, 1)[0]):
            raise BrokenSeries(f"WAL file '{name}' came out of turn")
        if not self._first:
            self._await_room(name)
        self._name = name
        self._draft = Draft(self._spool.path(name))

    def _write(self, data: bytes) -> None:
        if self._draft is not None:
            self._draft.write(data)

    def _end(self) -> None:
        draft, self._draft = self._draft, None
        if draft is None:
            return
        with draft:
            size = self._fetcher.accept(self._name, draft)
        if self._first:
            self._first, self._size = "", size
            if self._is_asked_for:
                self._spool.note(self._name, size, self._count)
            self._told(Outcome(OK))

    def _await_room(self, name: str) -> None:
        """Wait until the recovery is near enough. Raises _EnoughError when it is not coming.

        It may begin again before what was brought, or find that somebody removed it: whoever asks waits for us as long
        as we are here, so we go.
        """
        from barman.clock import Deadline

        seen, idle = None, Deadline(_IDLE_SECONDS)
        while True:
            position = self._spool.position()
            if position is None or position[0][:8] != name[:8]:
                raise _EnoughError("the recovery went elsewhere")
            window = following(*position)
            if position != seen:
                seen, idle = position, Deadline(_IDLE_SECONDS)
                self._spool.drop_passed()
            if name in window or name == position[0]:
                return
            if name < position[0]:
                if position[0] in following(name, self._size, self._count):
                    return
                raise _EnoughError("the recovery is far ahead")
            # Who takes a segment says so first: then one that lacks was taken by nobody who goes on from here.
            lacks = not all(os.path.exists(self._spool.path(segment)) for segment in window)
            if idle.expired or (lacks and self._spool.position() == position):
                raise _EnoughError("the recovery does not go on, or not from here")
            idle.sleep(_PAUSE)

    def _fill(self) -> None:
        """The way of hosts that send one segment a call: ask what there is, then fetch some at once."""
        from barman import workers

        self._fetcher.keep_connection(_KEPT_SECONDS)
        tried: set[str] = set()
        while wanted := [name for name in self._spool.missing() if name not in tried]:
            names = [name for name in self._fetcher.peek(wanted[0], self._count) if name in wanted]
            tried.update(names or wanted)
            jobs = min(_AT_ONCE, self._count)
            done = workers.ordered_map(lambda name: self._fetcher.fetch(name, self._spool.path(name)), names, jobs)
            if not all(outcome.kind == OK for outcome in done):
                return


def _nobody(_outcome: Outcome) -> None:
    pass
