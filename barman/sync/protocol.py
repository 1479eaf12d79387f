"""`sync-info`, the document by which a passive node learns what its primary has: how it is read. Pure.

What is read here comes from another host. Names, ids and paths are parsed before anybody makes a path, an argument or
a line of an index of them; whatever is hostile or damaged raises SyncError, and nothing of the document is used.

The original's order-based answer is a subset of ours: `late_wals` are files that it leaves out and a passive node may
need, `resumed` tells whether the answer went on where the question had stopped (`sync.answer`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping

from barman.catalog import backup_info_file
from barman.catalog.backup_id import BackupId, is_backup_id
from barman.catalog.backup_info import BackupInfo
from barman.catalog.wal_file import WalFile
from barman.errors import CorruptRecord, SyncError
from barman.postgres.wal_name import is_wal_name
from barman.typing import Any, Final
from barman.values import dataclass, field

MAX_DOCUMENT: Final = 1 << 30
_MAX_NUMBER: Final = 1 << 63
_MAX_PATH: Final = 4096
_START = re.compile(rb'^\{\s*"', re.MULTILINE)
_WORD = re.compile(r"[A-Za-z0-9_+-]{1,32}\Z", re.ASCII)
_KEEP_WORDS: Final = ("full", "standalone")
_NOT_FIELDS: Final = ("backup_id", "extra", "comments", "source")
_RECORD_KEYS: Final = tuple(key for key in BackupInfo.__match_args__ if key not in _NOT_FIELDS)


@dataclass(frozen=True, slots=True)
class SyncInfo:
    """What the primary has: backups whose data are complete, by ascending id, and WAL files in the order of its index.

    `last_position` and `last_name` are where the next question goes on. `config` is as sent; read paths through the
    properties. `resumed` is whether the answer went on exactly where the question had stopped, None if the primary
    does not tell (the original): then files with lower names may be missing. `keep` and `systemid` are told by
    primaries of ours only.
    """

    server_name: str
    last_position: int
    last_name: str
    backups: Mapping[BackupId, BackupInfo]
    wals: tuple[WalFile, ...]
    version: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    resumed: bool | None = None
    keep: Mapping[BackupId, str] = field(default_factory=dict)
    systemid: str | None = None
    pg_version: str = ""

    @property
    def basebackups_directory(self) -> str:
        """Where the primary has its base backups. Raises SyncError for anything but an absolute path."""
        return self._directory("basebackups_directory")

    @property
    def wals_directory(self) -> str:
        """Where the primary has its WAL archive. Raises SyncError for anything but an absolute path."""
        return self._directory("wals_directory")

    @property
    def backup_directory(self) -> str:
        """Where the primary has everything of the server. Raises SyncError for anything but an absolute path."""
        return self._directory("backup_directory")

    @property
    def compression(self) -> str | None:
        """How the primary compresses new WAL, None if it does not or does not tell."""
        value = self.config.get("compression")
        return value if isinstance(value, str) else None

    @property
    def primary_ssh_command(self) -> str | None:
        """How the primary reaches its own primary, None if it has none."""
        value = self.config.get("primary_ssh_command")
        return value if isinstance(value, str) and value else None

    def _directory(self, name: str) -> str:
        value = self.config.get(name)
        if not _is_path(value):
            raise SyncError(f"the primary of server {self.server_name} tells no usable {name}: {value!r:.80}")
        return str(value)


def _is_path(value: object) -> bool:
    return isinstance(value, str) and value.startswith("/") and len(value) <= _MAX_PATH and value.isprintable()


def find_document(raw: bytes) -> bytes:
    """The text from where the document begins: what a login script printed before it is cut off.

    Raises SyncError when nothing looks like a document.
    """
    if len(raw) > MAX_DOCUMENT:
        raise SyncError(f"an answer of {len(raw)} bytes is no answer of sync-info")
    found = _START.search(raw)
    if found is None:
        raise SyncError(f"the answer is not a document of sync-info: {_excerpt(raw)}")
    return raw[found.start() :] if found.start() else raw


def parse(document: bytes, server_name: str) -> SyncInfo:
    """Read an answer of sync-info. Raises SyncError for anything that is hostile, damaged or not one."""
    try:
        text = find_document(document).decode("utf-8")
        loaded, _ = json.JSONDecoder(object_hook=_object, parse_constant=_refuse_constant).raw_decode(text)
        return _sync_info(loaded, server_name)
    except SyncError as error:
        raise SyncError(f"sync-info of server {server_name}: {error.message}", hint=error.hint) from error
    except (ValueError, TypeError, RecursionError, MemoryError) as error:
        what = str(error) or type(error).__name__
        raise SyncError(f"sync-info of server {server_name}: not a document that can be read: {what:.120}") from error


def _sync_info(loaded: object, server_name: str) -> SyncInfo:
    if not isinstance(loaded, dict):
        raise SyncError("not a JSON object")
    missing = [key for key in ("last_position", "last_name", "backups", "wals", "config") if key not in loaded]
    if missing:
        raise SyncError(f"'{missing[0]}' is missing")
    last_name = loaded["last_name"]
    if last_name != "" and not (isinstance(last_name, str) and is_wal_name(last_name)):
        raise SyncError(f"'last_name' is not the name of a WAL file: {last_name!r:.80}")
    config = loaded["config"]
    if not isinstance(config, dict):
        raise SyncError("'config' is not an object")
    version = loaded.get("version")
    identity = loaded.get("identity")
    identity = identity if isinstance(identity, dict) else {}
    backups = _backups(loaded["backups"], server_name)
    systemid, pg_version = identity.get("systemid"), identity.get("version")
    return SyncInfo(
        server_name=server_name,
        last_position=_natural(loaded["last_position"], "last_position"),
        last_name=last_name,
        backups=backups,
        wals=_wals(loaded["wals"], loaded.get("late_wals", [])),
        version=version[:64] if isinstance(version, str) and version.isprintable() else "",
        config=config,
        resumed=loaded["resumed"] if isinstance(loaded.get("resumed"), bool) else None,
        keep=_keep(loaded.get("keep", {}), backups),
        systemid=systemid if isinstance(systemid, str) and systemid.isascii() and systemid.isdecimal() else None,
        pg_version=pg_version if isinstance(pg_version, str) and _WORD.match(pg_version.replace(".", "_")) else "",
    )


def _refuse_constant(text: str) -> object:
    raise ValueError(f"{text} is not a number")


def _excerpt(raw: bytes) -> str:
    return repr(raw[:60].decode("utf-8", "replace")) if raw.strip() else "it is empty"


def _natural(value: object, what: str) -> int:
    if type(value) is not int or not 0 <= value < _MAX_NUMBER:
        raise SyncError(f"'{what}' is not a number of bytes: {value!r:.80}")
    return value


# --- WAL files: converted as soon as they are read, because there may be a million


def _object(found: dict[str, Any]) -> object:
    # Among the statistics of a backup there may be tablespaces that are called like these keys: they have numbers.
    return _wal(found) if isinstance(found.get("name"), str) and "size" in found and "time" in found else found


def _wal(found: dict[str, Any]) -> WalFile:
    name, time = found["name"], found["time"]
    if not is_wal_name(name):
        raise SyncError(f"not the name of a WAL file: {name!r:.80}")
    if type(time) not in (int, float) or not math.isfinite(time) or abs(time) >= _MAX_NUMBER:
        raise SyncError(f"WAL file {name}: its time is not a number: {time!r:.80}")
    size = _natural(found["size"], f"size of {name}")
    return WalFile(name, size, float(time), _method(found, "compression"), _method(found, "encryption"))


def _method(found: dict[str, Any], key: str) -> str | None:
    value = found.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or not _WORD.match(value) or value == "None":
        raise SyncError(f"WAL file {found['name']}: not a {key}: {value!r:.80}")
    return value


def _wals(*lists: object) -> tuple[WalFile, ...]:
    """Each file once, in the order of first mention; of files that are listed twice the last line counts."""
    merged: dict[str, WalFile] = {}
    for listed in lists:
        if not isinstance(listed, list):
            raise SyncError("'wals' is not a list")
        for wal in listed:
            if not isinstance(wal, WalFile):
                raise SyncError(f"not a WAL file: {wal!r:.80}")
            merged[wal.name] = wal
    return tuple(merged.values())


# --- backups


def _backups(listed: object, server_name: str) -> dict[BackupId, BackupInfo]:
    if not isinstance(listed, dict):
        raise SyncError("'backups' is not an object")
    found: dict[BackupId, BackupInfo] = {}
    for backup_id in sorted(listed):
        if not is_backup_id(backup_id):
            raise SyncError(f"not a backup id: {backup_id!r:.80}")
        record = listed[backup_id]
        if not isinstance(record, dict):
            raise SyncError(f"backup {backup_id} is not an object: {record!r:.80}")
        if record.get("backup_id", backup_id) != backup_id:
            raise SyncError(f"backup {backup_id} calls itself {record['backup_id']!r:.80}")
        found[BackupId(backup_id)] = _record(BackupId(backup_id), record, server_name)
    return found


def _record(backup_id: BackupId, record: dict[str, Any], server_name: str) -> BackupInfo:
    """The record, read by the rules of `backup.info`, which know what to refuse."""
    lines = []
    for key in _RECORD_KEYS:
        text = _stored_text(key, record.get(key), record)
        if text is None:
            continue
        if "\n" in text or "\r" in text or "\0" in text:
            raise SyncError(f"backup {backup_id}: '{key}' contains a line break")
        if isinstance(record[key], bool) or _has_surrogates(text):
            raise SyncError(f"backup {backup_id}: '{key}' is {text!a:.80}")
        lines.append(f"{key}={text}")
    try:
        info = backup_info_file.parse("\n".join(lines), backup_id, server_name, path=f"backup {backup_id}")
    except CorruptRecord as error:
        raise SyncError(error.message) from error
    if not info.is_copy_done:
        raise SyncError(f"backup {backup_id} has status {info.status}: its data are not complete")
    return info


def _has_surrogates(text: str) -> bool:
    """Whether JSON has smuggled in half a character, which no file can hold."""
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)


def _stored_text(key: str, value: object, record: dict[str, Any]) -> str | None:
    """The value as `backup.info` has it; None for one that is not set."""
    if value is None:
        return None
    if key in ("begin_time", "end_time"):
        value = record.get(f"{key}_iso") or value
    if key == "backup_label" and isinstance(value, str):
        # The original sends the literal of its record, we send the text itself.
        return value if value[:1] in ("'", '"') else repr(value)
    if key == "tablespaces" and isinstance(value, list):
        return repr([tuple(item) if isinstance(item, list) else item for item in value]) if value else None
    if key == "children_backup_ids" and isinstance(value, list):
        return ",".join(item if isinstance(item, str) else repr(item) for item in value) or None
    return value if isinstance(value, str) else repr(value)


def _keep(listed: object, backups: Mapping[BackupId, BackupInfo]) -> dict[BackupId, str]:
    if not isinstance(listed, dict):
        raise SyncError("'keep' is not an object")
    return {backup_id: target for backup_id, target in _kept(listed) if backup_id in backups}


def _kept(listed: dict[str, Any]) -> Iterator[tuple[BackupId, str]]:
    for backup_id, target in sorted(listed.items()):
        if not is_backup_id(backup_id) or target not in _KEEP_WORDS:
            raise SyncError(f"not a kept backup: {backup_id!r:.80}: {target!r:.80}")
        yield BackupId(backup_id), target
