"""Views of the commands on the WAL archive (cli reference; delta to 3.20, section 2)."""

from __future__ import annotations

from barman.timestamps import format_ctime, format_timestamp
from barman.typing import TYPE_CHECKING, Any
from barman.units import format_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from barman.catalog.xlogdb import RebuildResult
    from barman.wal.quarantine import Refused, RefusedList
    from barman.wal.usable import WalArchiveCheck, WalRangeCheck


class RebuildResultView:
    """The counts of a rebuild."""

    @staticmethod
    def console(result: RebuildResult, write: Callable[[str], None]) -> None:
        """Write one line."""
        write(rebuild_line(result))

    @staticmethod
    def json(result: RebuildResult) -> dict[str, Any]:
        """The line among the messages, as the original has it."""
        return {"_INFO": [rebuild_line(result)]}


def rebuild_line(result: RebuildResult) -> str:
    """What ends a rebuild."""
    return (
        f"Done rebuilding xlogdb for server {result.server_name} "
        f"(history: {result.history}, backup_labels: {result.backup_labels}, wal_file: {result.wal_file})"
    )


class WalArchiveCheckView:
    """Whether a new server may archive here. A failure is reported as an error by the command."""

    @staticmethod
    def console(result: WalArchiveCheck, write: Callable[[str], None]) -> None:
        """Write the server and, if all is well, that it is."""
        write(f"Server {result.server_name}:")
        if result.reason is None:
            write(f" - {_passed(result)}")

    @staticmethod
    def json(result: WalArchiveCheck) -> dict[str, Any]:
        """The sentence, or an empty object."""
        return {result.server_name: _passed(result) if result.reason is None else {}}


def _passed(result: WalArchiveCheck) -> str:
    return f"WAL archive check for server {result.server_name} passed"


class WalRangeCheckView:
    """The missing segments of a range."""

    @staticmethod
    def console(result: WalRangeCheck, write: Callable[[str], None]) -> None:
        """Write the verdict and one line for each missing segment."""
        write(f"Server {result.server_name}:")
        if result.missing_wals is None:
            return
        title = f"\tWAL sequence check for server {result.server_name}:"
        if not result.missing_wals:
            write(f"{title} all segments are present")
            return
        write(f"{title} {len(result.missing_wals)} missing segment(s):")
        for name in result.missing_wals:
            write(f"\t\t{name}")

    @staticmethod
    def json(result: WalRangeCheck) -> dict[str, Any]:
        """Both ends and the missing names; these are left out when they could not be looked up."""
        content: dict[str, Any] = {"begin_wal": result.begin_wal, "end_wal": result.end_wal}
        if result.missing_wals is not None:
            content["missing_wals"] = list(result.missing_wals)
        return {result.server_name: content}


class RefusedListView:
    """The errors directory: each file and why it is there."""

    @staticmethod
    def console(result: RefusedList, write: Callable[[str], None]) -> None:
        """Write a line for each file, nothing if there is none."""
        for file in result.files:
            when = "" if file.time is None else f" - {format_ctime(file.time.astimezone())}"
            write(f"{result.server_name} {file.name}{when} - Size: {format_size(file.size)} - {_reason(file)}")

    @staticmethod
    def json(result: RefusedList) -> dict[str, Any]:
        """A list for the server."""
        return {
            result.server_name: [
                {
                    "name": file.name,
                    "wal_name": file.wal_name,
                    "kind": file.kind,
                    "time": None if file.time is None else format_timestamp(file.time),
                    "size_bytes": file.size,
                    "reason": _reason(file),
                }
                for file in result.files
            ]
        }


def _reason(file: Refused) -> str:
    if file.reason:
        return file.reason
    meanings = {
        "duplicate": "the archive had another file of that name",
        "unknown": "it was not a file that can be archived",
    }
    return meanings.get(file.kind, "no reason was noted")
