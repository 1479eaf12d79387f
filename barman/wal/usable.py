"""Rules of `check-wal-archive` and `check-archived-wal-range`. Pure."""

from __future__ import annotations

from collections.abc import Collection, Container

from barman.errors import InvalidWalName, WalError
from barman.postgres.wal_name import WalSegment
from barman.values import dataclass
from barman.wal.required import missing_segments


@dataclass(frozen=True, slots=True)
class WalArchiveCheck:
    """Whether a new server may archive here; `reason` says why not."""

    server_name: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class WalRangeCheck:
    """Which segments of a range are not archived; None when that could not be looked up."""

    server_name: str
    begin_wal: str
    end_wal: str
    missing_wals: tuple[str, ...] | None = ()


def judge_archive(names: Collection[str], timeline: int | None) -> str | None:
    """Why a server that begins with `timeline` cannot use an archive that holds these files; None if it can.

    Without a timeline the archive must be empty. With one it must not hold anything of it or of a later one: segments,
    labels, partial and history files alike.
    """
    if timeline is None:
        return "Expected empty archive" if names else None
    count = sum(int(name[:8], 16) >= timeline for name in names)
    if not count:
        return None
    return f"Found {count} file{'s' if count != 1 else ''} in WAL archive equal to or newer than timeline {timeline}"


def parse_range(begin_wal: str, end_wal: str) -> tuple[WalSegment, WalSegment]:
    """The ends of a range of segments. Raises WalError, exit code 1, for anything that is none."""
    segments = []
    for name in (begin_wal, end_wal):
        try:
            segments.append(WalSegment.parse(name))
        except InvalidWalName:
            raise WalError(f"'{name}' is not the name of a WAL segment") from None
    begin, end = segments
    if begin.timeline != end.timeline:
        raise WalError(f"WAL segments {begin_wal} and {end_wal} are on different timelines")
    if begin > end:
        raise WalError(f"WAL segment {begin_wal} is after {end_wal}: the range is empty")
    return begin, end


def judge_range(
    server_name: str, begin_wal: str, end_wal: str, segment_size: int, archived: Container[str]
) -> WalRangeCheck:
    """Look up every segment of a range. Raises WalError as `parse_range` and for an absurdly long range."""
    begin, end = parse_range(begin_wal, end_wal)
    missing = missing_segments(begin.name, end.name, segment_size, archived)
    return WalRangeCheck(server_name, begin_wal, end_wal, tuple(missing))
