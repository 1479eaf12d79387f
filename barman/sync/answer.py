"""What a primary answers to `sync-info`, in pieces: memory does not depend on how many files are listed.

Keys, their order and what is listed under them are the original's, which goes by the order of names: files greater
than the last one, or all from the first segment of the oldest backup. Behind them come keys of our own:

- `late_wals`: files that this rule leaves out and a passive node may need, histories and late timelines among them;
- `resumed`, if a question names the last file: whether the answer goes on exactly behind it;
- `keep` and `identity`: what the original does not send.

Passwords are redacted: a passive node of either program has no use for them.
"""

from __future__ import annotations

import json
import os
import re

from barman import __version__
from barman.catalog.backup_info import BackupInfo
from barman.catalog.wal_file import WalFile, parse_line
from barman.catalog.whole_lines import whole_lines
from barman.errors import CatalogError, SyncError
from barman.logs import redact
from barman.postgres.wal_name import is_wal_name
from barman.timestamps import format_ctime
from barman.typing import TYPE_CHECKING, Any, Final
from barman.values import dataclass
from barman.wal.expire import gather_needs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from barman.catalog.catalog import Catalog
    from barman.catalog.view import CatalogView
    from barman.config.server_config import ServerConfig
    from barman.server.server import Server

_CHUNK: Final = 1 << 18
_TAIL: Final = 1 << 16
_NOT_SENT: Final = ("backup_id", "extra", "comments", "source")
_HIDDEN_WHEN_UNSET: Final = ("backup_name", "snapshots_info")
_FIELDS: Final = tuple(sorted(key for key in BackupInfo.__match_args__ if key not in _NOT_SENT))
# A line as both programs write it, whose columns are JSON as they stand.
_PLAIN_LINE = re.compile(
    rb"^([0-9A-F]{24}(?:\.partial|\.[0-9A-F]{8}\.backup)?|[0-9A-F]{8}\.history)\t((?:0|[1-9][0-9]{0,17}))"
    rb"\t((?:0|[1-9][0-9]{0,11})\.[0-9]{1,9})\t([A-Za-z0-9]+)\t([A-Za-z0-9]+)$",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class _Choice:
    """Which lines an answer lists: from `start` on those that the original lists, and those that it leaves out.

    `resumed` is whether the answer goes on exactly behind the file that was named, None if none was.
    """

    wanted: Callable[[str], bool]
    late: Callable[[str], bool]
    start: int = 0
    resumed: bool | None = None


def answer(
    server: Server, last_wal: str | None = None, last_position: int | None = None, *, view: CatalogView | None = None
) -> Iterator[str]:
    """The document, in pieces. Whatever can be refused is refused before the first piece.

    `last_wal` and `last_position` are `last_name` and `last_position` of the answer before; `view` is a snapshot of the
    catalog, if there is one already. Raises SyncError for a name before the first or behind the last archived file, or
    when the index is rewritten while it is read.
    """
    if last_wal is not None and not is_wal_name(last_wal):
        raise SyncError(f"'{last_wal:.80}' is not the name of a WAL file")
    catalog = server.catalog
    view = catalog.snapshot() if view is None else view
    if os.path.isdir(catalog.layout.wals_directory):
        catalog.xlogdb.ensure()
    text = _IndexText(catalog)
    try:
        choice = _behind(last_wal, last_position, text) if last_wal else _for_backups(view)
    except BaseException:
        text.close()
        raise
    return _pieces(server, view, text, choice)


def _behind(last_wal: str, last_position: int | None, text: _IndexText) -> _Choice:
    start, resumed = text.find(last_wal, last_position)
    return _Choice(lambda name: name > last_wal, lambda _name: resumed, start, resumed)


def _for_backups(view: CatalogView) -> _Choice:
    """What the original lists for the backups, and what they need besides."""
    oldest = view.oldest()
    first = oldest.begin_wal if oldest is not None else None
    if first is None:
        return _Choice(lambda _name: True, lambda _name: False)
    return _Choice(lambda name: name >= first, gather_needs(view).includes)


def _pieces(server: Server, view: CatalogView, text: _IndexText, choice: _Choice) -> Iterator[str]:
    try:
        # The original refuses to be asked for position 0 (D11). With 1 it finds no name there and reads from 0, as we
        # do: whoever is the primary next time can be asked.
        head = {
            "last_position": max(text.last_offset, 1) if text.last_name else 0,
            "last_name": text.last_name,
            "backups": {info.backup_id: backup_document(info) for info in view.copy_done},
        }
        yield _dumps(head).rpartition("\n")[0] + ",\n"
        left_out = False

        def wanted(name: str) -> bool:
            nonlocal left_out
            if choice.wanted(name):
                return True
            left_out = left_out or choice.late(name)
            return False

        yield from _listed("wals", text.chunks(choice.start), wanted)
        yield ",\n"
        tail: dict[str, Any] = {"version": __version__, "config": _config(server.config)}
        yield _dumps(tail).partition("\n")[2].rpartition("\n")[0] + ",\n"
        if left_out:
            late = text.chunks(choice.start)
            yield from _listed("late_wals", late, lambda name: not choice.wanted(name) and choice.late(name))
            yield ",\n"
        text.check_unchanged()
        yield _dumps(_extras(server.catalog, view, choice.resumed)).partition("\n")[2]
    finally:
        text.close()


def _dumps(value: object) -> str:
    return json.dumps(value, indent=4, default=str)


# --- backups and configuration


def backup_document(info: BackupInfo) -> dict[str, Any]:
    """A record as sync-info shows it: the keys of `backup.info`, sorted, then its id and its times in ISO form."""
    document: dict[str, Any] = {}
    for key in _FIELDS:
        value = getattr(info, key)
        if value is not None or key not in _HIDDEN_WHEN_UNSET:
            document[key] = _shown(key, value)
    document["backup_id"] = info.backup_id
    document["begin_time_iso"] = _iso(info.begin_time)
    document["end_time_iso"] = _iso(info.end_time)
    return document


def _shown(key: str, value: Any) -> Any:
    if value is None or value == ():
        return None
    if key in ("begin_time", "end_time"):
        return format_ctime(value)
    if key in ("begin_xlog", "end_xlog"):
        return str(value)
    if key == "tablespaces":
        return [[item.name, item.oid, item.location] for item in value]
    if key == "children_backup_ids":
        return ",".join(value)
    if key in ("copy_stats", "snapshots_info"):
        try:
            return dict(value)
        except CatalogError:
            return None  # damaged: no restore depends on it
    return list(value) if isinstance(value, tuple) else value


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _config(config: ServerConfig) -> dict[str, Any]:
    shown = {key: _redacted(value) for key, value in config.json_items()}
    name = shown.pop("name")
    return {**shown, "name": name}


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return redact(str(value))
    if isinstance(value, dict):
        return {str(key): _redacted(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redacted(item) for item in value]
    return value


def _extras(catalog: Catalog, view: CatalogView, resumed: bool | None) -> dict[str, Any]:
    extras: dict[str, Any] = {}
    kept = {info.backup_id: target for info in view.copy_done if (target := view.keep.get(info.backup_id))}
    if kept:
        extras["keep"] = {
            backup_id: "standalone" if word == "standalone" else "full" for backup_id, word in kept.items()
        }
    try:
        identity = catalog.identity.read()
    except CatalogError:
        identity = None
    if identity is not None:
        extras["identity"] = {"systemid": identity.systemid, "version": identity.version}
    extras["resumed"] = resumed
    return extras


# --- WAL files


def _listed(key: str, chunks: Iterable[bytes], wanted: Callable[[str], bool]) -> Iterator[str]:
    """One list of files, its key before it. No line end comes behind the last one."""
    opening, some = f'    "{key}": [', False
    yield opening
    for chunk in chunks:
        items = _items(chunk, wanted)
        if items:
            yield ("," if some else "") + "\n" + ",\n".join(items)
            some = True
    yield "\n    ]" if some else "]"


def _items(chunk: bytes, wanted: Callable[[str], bool]) -> list[str]:
    found = _PLAIN_LINE.findall(chunk)
    if len(found) == chunk.count(b"\n"):
        return [
            _item(name, size, time, _quoted(compression), _quoted(encryption))
            for name, size, time, compression, encryption in (
                [column.decode("ascii") for column in columns] for columns in found
            )
            if wanted(name)
        ]
    files = [file for line in chunk.split(b"\n") if (file := parse_line(line)) is not None and wanted(file.name)]
    return [_item_of(file) for file in files]


def _item(name: str, size: str, time: str, compression: str, encryption: str) -> str:
    return (
        f'        {{\n            "compression": {compression},\n            "encryption": {encryption},\n'
        f'            "name": "{name}",\n            "size": {size},\n            "time": {time}\n        }}'
    )


def _item_of(file: WalFile) -> str:
    return _item(file.name, str(file.size), repr(file.time), json.dumps(file.compression), json.dumps(file.encryption))


def _quoted(word: str) -> str:
    return "null" if word == "None" else f'"{word}"'


class _IndexText:
    """The index as it was when it was opened: its whole lines, and the last one that names a file."""

    def __init__(self, catalog: Catalog) -> None:
        self._path = catalog.layout.xlogdb
        self._locks = catalog.locks
        self._descriptor = -1
        self._end = 0
        self.last_offset, self.last_name = 0, ""
        with self._locks.xlogdb():  # the original rewrites in place: begin and end while it does not
            try:
                self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return
            self._end = os.fstat(self._descriptor).st_size
            self._find_last()

    def close(self) -> None:
        """Close the text; again is fine."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def find(self, last_wal: str, position: int | None) -> tuple[int, bool]:
        """Where to go on behind a file: the offset of the next line, and whether that is exactly behind its line.

        Raises SyncError when the name lies before the first or behind the last line; with an empty index it does not.
        """
        if position == 1:
            position = 0  # that is how the first line is told, see `_pieces`; no other line begins there
        if position is not None and position <= self.last_offset:
            line = self._line_at(position)
            if line.split()[:1] == [last_wal.encode()]:
                return position + len(line), True
        if not self.last_name:
            return 0, False
        first = self._first_name()
        outside = ""
        if first > last_wal:
            outside = f"older than the first available wal '{first}'"
        elif last_wal > self.last_name:
            outside = f"newer than the last available wal '{self.last_name}'"
        # Lines are only nearly sorted: a name may be listed between two smaller ones.
        if outside and not self._lists(last_wal):
            raise SyncError(f"last_wal '{last_wal}' is {outside}")
        return 0, False

    def chunks(self, start: int) -> Iterator[bytes]:
        """Texts of whole lines from an offset on; a torn last line is left out."""
        for lines, _ in whole_lines(self._read(start)):
            yield lines

    def check_unchanged(self) -> None:
        """Raise SyncError if the text was rewritten in place since it was opened."""
        if not self.last_name:
            return
        with self._locks.xlogdb():
            line = self._line_at(self.last_offset)
        if line.split()[:1] != [self.last_name.encode()]:
            raise SyncError(f"'{self._path}' was rewritten while it was read", hint="Run the command again.")

    def _read(self, start: int) -> Iterator[bytes]:
        while self._descriptor >= 0 and start < self._end:
            piece = os.pread(self._descriptor, min(_CHUNK, self._end - start), start)
            if not piece:
                return
            yield piece
            start += len(piece)

    def _line_at(self, offset: int) -> bytes:
        """The line that begins at an offset, with its end; empty if none does."""
        begin = max(offset - 1, 0)
        text = os.pread(self._descriptor, 512, begin) if self._descriptor >= 0 else b""
        if offset:
            if not text.startswith(b"\n"):
                return b""
            text = text[1:]
        line, newline, _ = text.partition(b"\n")
        return line + newline if newline else b""

    def _first_name(self) -> str:
        for chunk in self.chunks(0):
            for line in chunk.split(b"\n"):
                if (file := parse_line(line)) is not None:
                    return file.name
        return ""

    def _lists(self, name: str) -> bool:
        wanted = re.compile(rb"^" + re.escape(name.encode()) + rb"\s", re.MULTILINE)
        return any(wanted.search(chunk) for chunk in self.chunks(0))

    def _find_last(self) -> None:
        for size in (_TAIL, 1 << 20):
            start = max(0, self._end - size)
            text = os.pread(self._descriptor, self._end - start, start)
            if start:
                cut = text.find(b"\n") + 1
                if not cut:
                    continue
                start, text = start + cut, text[cut:]
            if self._take_last(text[: text.rfind(b"\n") + 1], start):
                return
        for lines, consumed in whole_lines(self._read(0)):
            self._take_last(lines, consumed - len(lines))

    def _take_last(self, text: bytes, start: int) -> bool:
        """Remember the last line of a text that names a file; tell whether there is one."""
        end = len(text)
        while end > 0:
            begin = text.rfind(b"\n", 0, end - 1) + 1
            file = parse_line(text[begin:end])
            if file is not None:
                self.last_offset, self.last_name = start + begin, file.name
                return True
            end = begin
        return False
