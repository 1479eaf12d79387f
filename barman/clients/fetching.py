"""Fetch one WAL file from a Barman host into a file that appears when it is whole and right, and not before."""

from __future__ import annotations

import os

from barman.clients.segment import HEADER_SIZE, is_plain_segment, is_segment_size, read_header, start_position
from barman.clients.ssh import (
    CONNECTION_FAILED,
    ClientError,
    Remote,
    private_directory,
    quote_always,
    socket_directory,
)
from barman.errors import BarmanError
from barman.fs.spool import Draft
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from barman.pipes import Ended

OK, MISSING, FAILED = "ok", "missing", "failed"
_NOT_FOUND = "not found in server"
"""What every Barman says when its archive has no such file. Its exit code alone says nothing: a server that is not
configured has the same."""

DAMAGED = 4


class Outcome:
    """How an attempt ended, and whether asking again is pointless.

    `status` is the exit code outside of a recovery; `reason` is for the log.
    """

    __slots__ = ("is_final", "kind", "reason", "status")

    def __init__(self, kind: str, status: int = 0, reason: str = "", *, is_final: bool = True) -> None:
        self.kind = kind
        self.status = status
        self.reason = reason
        self.is_final = is_final


def _failed(status: int, reason: str) -> Outcome:
    """A failure that may heal."""
    return Outcome(FAILED, status, reason, is_final=False)


class Unsound(BarmanError):
    """What came is not the file that was asked for."""


class Fetcher:
    """Fetches files of one server. `options` are words of `barman get-wal`; `system_id` is that of our cluster."""

    def __init__(self, remote: Remote, options: Sequence[str] = (), system_id: int | None = None) -> None:
        self._remote = remote
        self._options = list(options)
        self._system_id = system_id

    def command(self, name: str, *more: str) -> str:
        """Return the remote command for a file, in the words and the order of the original."""
        words = ["get-wal", *more, *self._options, quote_always(self._remote.server), quote_always(name)]
        return self._remote.barman(*words)

    def fetch(self, name: str, path: str) -> Outcome:
        """Fetch a file; on success it is at `path`. Raises OSError for what happens at our end, CommandFailed."""
        with Draft(path) as draft:
            ended = self.converse(self.command(name), draft.write)
            if ended.status == 0:
                try:
                    self.accept(name, draft)
                except Unsound as error:
                    return self.unsound(error)
                return Outcome(OK)
        return self.judge(name, ended)

    def converse(self, command: str, on_output: Callable[[bytes], object]) -> Ended:
        """Run a remote command. Raises CommandFailed when ssh cannot be started."""
        return self._remote.run(command, on_output=on_output)

    def keep_connection(self, seconds: int) -> None:
        """Keep the connection at least so long after its last use, if there is a safe place for its socket."""
        try:
            private_directory(socket_directory())
        except ClientError:
            return
        self._remote.keep = max(self._remote.keep, seconds)

    def judge(self, name: str, ended: Ended) -> Outcome:
        """Tell what a failed `barman get-wal` says about the file."""
        text = ended.error_text
        if ended.status == CONNECTION_FAILED:
            return _failed(2, f"Connection problem with ssh: {text or 'no reason given'}")
        if ended.status == 1 and _NOT_FOUND in text and name in text:
            return Outcome(MISSING, 1, text)
        if ended.status < 0:
            return _failed(2, f"ssh was ended by signal {-ended.status}")
        # A wrong option or name does not heal.
        return Outcome(FAILED, ended.status, text or f"exit code {ended.status}", is_final=ended.status in (2, 3))

    def unsound(self, error: BarmanError) -> Outcome:
        """Tell that what came is not what was asked for."""
        return _failed(DAMAGED, error.message)

    def peek(self, name: str, limit: int) -> list[str]:
        """Return the names of up to `limit` consecutive segments that can be fetched, beginning with `name`."""
        answer: list[bytes] = []
        ended = self._remote.run(self.command(name, "--peek", quote_always(str(limit))), on_output=answer.append)
        if ended.status != 0:
            return []
        lines = b"".join(answer).decode("ascii", "replace").split()
        return [line for line in lines if is_plain_segment(line)][:limit]

    def accept(self, name: str, draft: Draft) -> int:
        """Publish what came, decoded if it is compressed; answer its plain size. Raises Unsound."""
        if is_plain_segment(name) and _has_header(draft.path):
            size = check(draft.path, name, self._system_id)
            draft.publish()
            return size
        from barman.compression.codec import CodecError, copy_stream, decoded, detect_file

        if detect_file(draft.path) is None:
            size = check(draft.path, name, self._system_id)
            draft.publish()
            return size
        try:
            with Draft(f"{draft.final_path}.plain") as plain:
                with decoded(draft.path) as stream:
                    copy_stream(stream, plain.write)
                size = check(plain.path, name, self._system_id)
                plain.publish_as(draft.final_path)
        except CodecError as error:
            raise Unsound(error.message) from error
        return size


def _has_header(path: str) -> bool:
    """Whether a file is no compressed one, told without importing what knows of compression."""
    with open(path, "rb", buffering=0) as file:
        return read_header(file.read(HEADER_SIZE)) is not None


def check(path: str, name: str, system_id: int | None) -> int:
    """Return the size of a file. Raises Unsound unless it can be what its name says: whole, and of our cluster."""
    size = os.stat(path).st_size
    if size == 0:
        raise Unsound(f"WAL file '{name}' came empty")
    if not is_plain_segment(name):
        return size
    with open(path, "rb", buffering=0) as file:
        header = read_header(file.read(HEADER_SIZE))
    if header is None or not is_segment_size(size):
        raise Unsound(f"what came as WAL file '{name}' is no WAL segment ({size} bytes)")
    found_id, segment_size, start = header
    if size != segment_size or start != start_position(name, segment_size):
        raise Unsound(f"what came as WAL file '{name}' is cut short or another segment ({size} bytes)")
    if system_id is not None and found_id != system_id:
        raise Unsound(f"WAL file '{name}' is of the cluster {found_id}, this one is {system_id}")
    return size
