"""The two small files that make a copied data directory a backup: `backup_label` and `tablespace_map`.

Both are text that PostgreSQL writes (`build_backup_content` in `xlogbackup.c`) and reads back (`read_backup_label` and
`read_tablespace_map` in `xlogrecovery.c`). Pure: nothing here opens a file.
"""

import re
from collections.abc import Iterable

from barman.errors import BackupError
from barman.postgres.lsn import Lsn
from barman.values import dataclass

_START_WAL = re.compile(
    r"^START WAL LOCATION: ([0-9A-F]+/[0-9A-F]+) \(file ([0-9A-F]{24})\)\s*$", re.IGNORECASE | re.MULTILINE
)
_FIELD = re.compile(r"^([A-Z ]+): (.*?)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class BackupLabel:
    """What a `backup_label` says.

    `start_time` is the server's own text, in its log time zone; `timestamps.parse_timestamp` reads it.
    `text` is the file as it was read: what is recorded in the catalog and what a restore writes back.
    """

    text: str
    start_lsn: Lsn
    start_wal: str
    start_time: str
    checkpoint_lsn: Lsn | None = None
    method: str = ""
    taken_from: str = ""
    label: str = ""
    start_timeline: int | None = None
    incremental_from: Lsn | None = None

    @property
    def timeline(self) -> int:
        """Where the backup starts: as written (PostgreSQL 11 and later), else the one in the segment's name."""
        return self.start_timeline if self.start_timeline is not None else int(self.start_wal[:8], 16)

    @property
    def from_standby(self) -> bool:
        """Whether the server was in recovery when the backup was taken."""
        return self.taken_from == "standby"


def parse_backup_label(text: str) -> BackupLabel:
    """Read a `backup_label`.

    Unknown lines are kept in `text` and otherwise ignored: new PostgreSQL versions add some.

    Raises:
        BackupError: a line that no backup can do without is missing or cannot be read.

    """
    start = _START_WAL.search(text)
    if start is None:
        raise BackupError("backup_label has no readable START WAL LOCATION line")
    fields = dict(_FIELD.findall(text))
    if "START TIME" not in fields:
        raise BackupError("backup_label has no START TIME line")
    return BackupLabel(
        text=text,
        start_lsn=Lsn.parse(start.group(1)),
        start_wal=start.group(2).upper(),
        start_time=fields["START TIME"],
        checkpoint_lsn=_lsn(fields.get("CHECKPOINT LOCATION")),
        method=fields.get("BACKUP METHOD", ""),
        taken_from=fields.get("BACKUP FROM", ""),
        label=fields.get("LABEL", ""),
        start_timeline=_number(fields.get("START TIMELINE")),
        incremental_from=_lsn(fields.get("INCREMENTAL FROM LSN")),
    )


def format_backup_label(label: BackupLabel) -> str:
    """Write a label from its fields, in PostgreSQL's order; for a label that was read, use its `text` instead."""
    lines = [f"START WAL LOCATION: {label.start_lsn} (file {label.start_wal})"]
    if label.checkpoint_lsn is not None:
        lines.append(f"CHECKPOINT LOCATION: {label.checkpoint_lsn}")
    lines += [f"BACKUP METHOD: {label.method}", f"BACKUP FROM: {label.taken_from}"]
    lines += [f"START TIME: {label.start_time}", f"LABEL: {label.label}"]
    if label.start_timeline is not None:
        lines.append(f"START TIMELINE: {label.start_timeline}")
    if label.incremental_from is not None:
        lines.append(f"INCREMENTAL FROM LSN: {label.incremental_from}")
    return "".join(line + "\n" for line in lines)


@dataclass(frozen=True, slots=True)
class TablespaceMapEntry:
    """One line of a `tablespace_map`: the link `pg_tblspc/<oid>` must point to `location`."""

    oid: int
    location: str


def parse_tablespace_map(text: str) -> tuple[TablespaceMapEntry, ...]:
    r"""Read a `tablespace_map`: `OID PATH` lines, where a backslash takes the next character literally.

    Raises:
        BackupError: a line is not `OID PATH`.

    """
    return tuple(_map_entry(line) for line in _logical_lines(text))


def format_tablespace_map(entries: Iterable[TablespaceMapEntry]) -> str:
    """Write a `tablespace_map` that PostgreSQL reads back to the same entries, whatever the locations contain."""
    return "".join(f"{entry.oid} {_escape(entry.location)}\n" for entry in entries)


def _escape(location: str) -> str:
    return re.sub(r"([\\\n\r])", r"\\\1", location)


def _logical_lines(text: str) -> list[str]:
    lines: list[str] = []
    current: list[str] = []
    escaped = False
    for character in text:
        if escaped or character not in "\\\n\r":
            current.append(character)
            escaped = False
        elif character == "\\":
            escaped = True
        elif current:
            lines.append("".join(current))
            current = []
    if escaped or current:
        raise BackupError("tablespace_map ends in the middle of a line")
    return lines


def _map_entry(line: str) -> TablespaceMapEntry:
    oid, blank, location = line.partition(" ")
    if not oid.isascii() or not oid.isdigit() or not blank or not location:
        raise BackupError(f"tablespace_map has a line that is not 'OID PATH': {line!r}")
    return TablespaceMapEntry(int(oid), location)


def _lsn(text: str | None) -> Lsn | None:
    # "CHECKPOINT LOCATION" carries nothing else, but other lines put a remark in brackets behind the position.
    if text is None:
        return None
    try:
        return Lsn.parse(text.split(" ")[0])
    except ValueError as error:
        raise BackupError(f"backup_label has an unreadable position: {text!r}") from error


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit():
        raise BackupError(f"backup_label has an unreadable timeline: {text!r}")
    return int(text)
