"""The `key=value` format of `backup.info`. Pure.

Reading accepts all that the original and its older versions wrote, damage known from them included (D9, D10 of the
catalog reference). Writing gives what the original reads. A value that was not changed is written back as it was
found, unknown keys and comments too. A text from outside never does more than raise CorruptRecord with file and line.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache

from barman.catalog.backup_id import BackupId, is_backup_id
from barman.catalog.backup_info import BackupInfo, BackupStatus, StoredMapping, Tablespace
from barman.catalog.literal import parse_literal
from barman.errors import CatalogError, CorruptRecord
from barman.postgres.lsn import Lsn
from barman.postgres.wal_name import is_segment_size
from barman.timestamps import format_timestamp, parse_timestamp
from barman.typing import Any, Final

MAX_SIZE: Final = 8 * 1024 * 1024
_MAX_DIGITS: Final = 20
_HEX: Final = "0123456789ABCDEFabcdef"
_ID_LENGTH: Final = 15
_MAX_TIME: Final = 64
_BAD: Final = (ValueError, TypeError, ArithmeticError, RecursionError, MemoryError)


def parse(text: str, backup_id: BackupId, server_name: str, *, path: str = "", mode: str | None = None) -> BackupInfo:
    """The record that the text holds. An empty text is a record with status EMPTY.

    `server_name` and `mode` stand in for keys that are missing. Raises CorruptRecord, which names the path and the
    line.
    """
    if len(text) > MAX_SIZE:
        raise CorruptRecord(f"{path or backup_id}: a record of {len(text)} characters")
    source, comments = _split(text, path or backup_id)
    fields: dict[str, Any] = {}
    extra: dict[str, str] = {}
    key = ""
    try:
        for key, value in source.items():
            decode = _DECODERS.get(key, _UNKNOWN)
            if decode is _UNKNOWN:
                extra[key] = value
            elif value != "None":
                fields[key] = value if decode is None else decode(value)
    except _BAD as error:
        raise CorruptRecord(
            f"{path or backup_id} line {_line_of(key, text)}: invalid value for '{key}': '{source[key]:.80}' ({error})"
        ) from error
    if "server_name" not in fields:
        fields["server_name"] = server_name
    if mode is not None and "mode" not in fields:
        fields["mode"] = mode
    return BackupInfo(backup_id=backup_id, extra=extra, comments=comments, source=source, **fields)


def format(info: BackupInfo) -> str:
    """The text to be stored: every known key, sorted, then re-readable by `parse` and by the original.

    Raises CatalogError for a value that the format cannot hold: one with a line break.
    """
    lines = {key: _stored_value(info, key) for key in _ENCODERS}
    for key in _HIDDEN_WHEN_UNSET:
        if lines[key] == "None":
            del lines[key]
    lines.update(info.extra)
    body = [f"{key}={lines[key]}" for key in sorted(lines)]
    return "\n".join([*info.comments, *body]) + "\n"


# --- reading


def _split(text: str, name: str) -> tuple[dict[str, str], tuple[str, ...]]:
    source: dict[str, str] = {}
    comments: list[str] = []
    for line in text.split("\n"):
        key, separator, value = line.partition("=")
        if separator and key in _DECODERS:
            source[key] = value.strip()
        elif line.startswith("#"):
            comments.append(line.rstrip("\r"))
        elif separator:
            source[key.strip()] = value.strip()
        elif line.strip():
            number = text.split("\n").index(line) + 1
            raise CorruptRecord(f"{name} line {number}: not of the form key=value: '{line[:60]}'")
    return source, tuple(comments)


def _line_of(key: str, text: str) -> int:
    last = 0
    for number, line in enumerate(text.split("\n"), 1):
        if line.partition("=")[0].strip() == key and not line.startswith("#"):
            last = number
    return last


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError("too many digits")
    return int(text)


def _natural(text: str) -> int:
    value = _integer(text)
    if value < 0:
        raise ValueError("negative")
    return value


def _segment_size(text: str) -> int:
    value = _integer(text)
    if not is_segment_size(value):
        raise ValueError("not a power of two between 1 MB and 1 GB")
    return value


def _status(text: str) -> str:
    if text not in BackupStatus.ALL:
        raise ValueError("unknown status")
    return text


def _segment_name(text: str) -> str:
    if len(text) != 24 or text.strip(_HEX):
        raise ValueError("not a WAL segment")
    return text


def _time(text: str) -> datetime:
    try:
        # The form that everybody writes, at a tenth of the cost.
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is not None and moment.tzinfo is not None:
        return moment
    if len(text) > _MAX_TIME:
        raise ValueError("not a timestamp")
    return parse_timestamp(text)


def _backup_id(text: str) -> BackupId:
    if not is_backup_id(text):
        raise ValueError("not a backup id")
    return BackupId(text)


def _backup_ids(text: str) -> tuple[BackupId, ...]:
    items = text.split(",")
    if len(items) > 1 and all(len(item) <= 1 for item in items):
        # D10: passive nodes of the original join the list once more, character by character.
        squashed = text.replace(",", "")
        items = [squashed[i : i + _ID_LENGTH] for i in range(0, len(squashed), _ID_LENGTH)]
    return tuple(_backup_id(item.strip()) for item in items)


def _label(text: str) -> str:
    value = _string_literal(text)
    if value[:1] in ("'", '"'):
        # D9: passive nodes of the original store the representation of the representation.
        value = _string_literal(value)
    return value


def _string_literal(text: str) -> str:
    body = text[1:-1]
    if text[:1] == text[-1:] == "'" and "'" not in body:
        plain = body.replace("\\n", "\n")
        if "\\" not in plain:
            return plain
    value = parse_literal(text)
    if not isinstance(value, str):
        raise ValueError("not a string")
    return value


# Servers seldom change these between two backups: one parse serves a whole catalog.


@lru_cache(maxsize=64)
def _tablespaces(text: str) -> tuple[Tablespace, ...]:
    result = []
    for item in _list_literal(text):
        name, oid, location = item
        if not (isinstance(name, str) and type(oid) is int and oid >= 0 and isinstance(location, str)):
            raise ValueError("not a list of (name, oid, location)")
        result.append(Tablespace(name, oid, location))
    return tuple(result)


@lru_cache(maxsize=64)
def _string_list(text: str) -> tuple[str, ...]:
    items = _list_literal(text)
    if not all(isinstance(item, str) for item in items):
        raise ValueError("not a list of strings")
    return tuple(items)


def _list_literal(text: str) -> list[Any] | tuple[Any, ...]:
    value = parse_literal(text)
    if not isinstance(value, list | tuple):
        raise ValueError("not a list")
    return value


def _mapping(text: str) -> Mapping[str, Any]:
    if not (text.startswith("{") and text.endswith("}")):
        raise ValueError("not a dictionary")
    return StoredMapping(text, _load_mapping)


def _load_mapping(text: str) -> dict[str, Any]:
    try:
        value = parse_literal(text)
    except ValueError as error:
        raise CorruptRecord(f"unreadable dictionary in a backup record: {error}") from error
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise CorruptRecord(f"not a dictionary in a backup record: '{text[:60]}'")
    return value


# --- writing


def _stored_value(info: BackupInfo, key: str) -> str:
    value = getattr(info, key)
    old = info.source.get(key)
    if old is not None and _means(key, old, value):
        return old
    if value is None or value == ():
        return "None"
    text = _ENCODERS[key](value)
    if "\n" in text or "\r" in text:
        if key != "error":
            raise CatalogError(f"backup {info.backup_id}: '{key}' contains a line break, which its record cannot hold")
        text = " ".join(text.split())
    return text


def _means(key: str, text: str, value: object) -> bool:
    """Whether the text, read again, gives that very value."""
    if text == "None":
        return value is None or value == ()
    if isinstance(value, StoredMapping) and value.text == text:
        return True
    decode = _DECODERS[key]
    return (text if decode is None else decode(text)) == value


def _format_tablespaces(value: tuple[Tablespace, ...]) -> str:
    return repr([(item.name, item.oid, item.location) for item in value])


def _format_list(value: tuple[str, ...]) -> str:
    return repr(list(value))


def _format_mapping(value: Mapping[str, Any]) -> str:
    return repr(dict(value))


_HIDDEN_WHEN_UNSET: Final = ("backup_name", "snapshots_info")

_Decoder = Callable[[str], object]
_Encoder = Callable[[Any], str]

# One row a key: how its text is read (None: as it is) and written.
_KEYS: Final[dict[str, tuple[_Decoder | None, _Encoder]]] = {
    "backup_label": (_label, repr),
    "backup_name": (None, str),
    "begin_offset": (_natural, str),
    "begin_time": (_time, format_timestamp),
    "begin_wal": (_segment_name, str),
    "begin_xlog": (Lsn.parse, str),
    "children_backup_ids": (_backup_ids, ",".join),
    "cluster_size": (_integer, str),
    "compression": (None, str),
    "config_file": (None, str),
    "copy_stats": (_mapping, _format_mapping),
    "data_checksums": (None, str),
    "deduplicated_size": (_integer, str),
    "encryption": (None, str),
    "end_offset": (_natural, str),
    "end_time": (_time, format_timestamp),
    "end_wal": (_segment_name, str),
    "end_xlog": (Lsn.parse, str),
    "error": (None, str),
    "hba_file": (None, str),
    "ident_file": (None, str),
    "included_files": (_string_list, _format_list),
    "mode": (None, str),
    "parent_backup_id": (_backup_id, str),
    "pgdata": (None, str),
    "server_name": (None, str),
    "size": (_integer, str),
    "snapshots_info": (_mapping, _format_mapping),
    "status": (_status, str),
    "summarize_wal": (None, str),
    "systemid": (None, str),
    "tablespaces": (_tablespaces, _format_tablespaces),
    "timeline": (_natural, str),
    "version": (_natural, str),
    "xlog_segment_size": (_segment_size, str),
}
_UNKNOWN: Final[_Decoder] = str
_DECODERS: Final = {key: decode for key, (decode, _) in _KEYS.items()}
_ENCODERS: Final = {key: encode for key, (_, encode) in _KEYS.items()}

if set(BackupInfo.__match_args__) - _KEYS.keys() != {"backup_id", "extra", "comments", "source"}:
    raise AssertionError("every field of BackupInfo needs a row in _KEYS")
