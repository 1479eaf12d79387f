r"""Read and edit PostgreSQL configuration files without losing a comment (PostgreSQL manual, "Setting Parameters").

A file is lines of `name [=] value`; values are words or quoted strings in which `''` and backslash escapes stand for
characters (`guc-file.l`, `GUC_scanstr`). Text that cannot be decoded passes through unchanged (surrogate escapes).
Pure: nothing here opens a file.
"""

from __future__ import annotations

import re

from barman.values import dataclass

_SETTING = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_$]*(?:\.[A-Za-z_][A-Za-z0-9_$]*)?)\s*(?:=\s*|\s)(.*)\Z", re.DOTALL)
_VALUE = re.compile(r"'(?:[^'\\]|\\.|'')*'|[^\s#']+", re.DOTALL)
_ESCAPE = re.compile(r"\\([0-7]{1,3}|.)|''", re.DOTALL)
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}

DISABLED_PREFIX = "#BARMAN#"
"""What a disabled line begins with; a restored cluster's owner finds the old settings by it."""

FORCED: dict[str, str | None] = {
    "archive_command": "false",
    "archive_library": None,
    "archive_cleanup_command": None,
    "restore_command": None,
    "recovery_end_command": None,
    "primary_conninfo": None,
    "primary_slot_name": None,
    "recovery_min_apply_delay": None,
    "promote_trigger_file": None,
    "recovery_target": None,
    "recovery_target_name": None,
    "recovery_target_time": None,
    "recovery_target_xid": None,
    "recovery_target_lsn": None,
    "recovery_target_inclusive": None,
    "recovery_target_timeline": None,
    "recovery_target_action": None,
}
"""Settings by which a restored cluster would act as the old one, and what replaces them; None: just disabled.

The old cluster's archive, its primary, its slot and its recovery targets are not those of the copy.
"""

REVIEWED = frozenset(
    (
        "data_directory",
        "config_file",
        "hba_file",
        "ident_file",
        "external_pid_file",
        "ssl_cert_file",
        "ssl_key_file",
        "ssl_ca_file",
        "ssl_crl_file",
        "unix_socket_directory",
        "unix_socket_directories",
        "include",
        "include_dir",
        "include_if_exists",
        "synchronous_standby_names",
    )
)
"""Settings that may not fit the host of the copy: reported, never changed."""

INCLUDES = frozenset(("include", "include_dir", "include_if_exists"))


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: the number of its line counted from 0, its name in lower case, its value as written and as meant."""

    line: int
    name: str
    raw: str
    value: str


@dataclass(frozen=True, slots=True)
class Forced:
    """A setting that was disabled; `value` is what replaces it, None when nothing does."""

    line: int
    name: str
    value: str | None


@dataclass(frozen=True, slots=True)
class Neutralised:
    """The text of a file after `neutralise`, what was changed in it, and what its owner must look at."""

    text: str
    forced: tuple[Forced, ...]
    review: tuple[Setting, ...]


def quote(value: str) -> str:
    """Return a value as a quoted string that PostgreSQL reads back to the same text. Raises ValueError for NUL."""
    if "\0" in value:
        raise ValueError("a setting cannot hold a NUL character")
    return "'" + value.replace("\\", "\\\\").replace("'", "''").replace("\n", "\\n").replace("\r", "\\r") + "'"


def unquote(raw: str) -> str:
    """Return what a value as written means."""
    if not (len(raw) >= 2 and raw[0] == "'" and raw[-1] == "'"):
        return raw
    return _ESCAPE.sub(_unescape, raw[1:-1])


def _unescape(match: re.Match[str]) -> str:
    code = match.group(1)
    if code is None:
        return "'"
    if code[0] in "01234567":
        return chr(int(code, 8) & 0xFF)
    return _ESCAPED.get(code, code)


def parse_line(text: str, number: int = 0) -> Setting | None:
    """Return the setting on a line; None for blanks, comments and what is no setting."""
    match = _SETTING.match(text)
    if match is None:
        return None
    value = _VALUE.match(match.group(2))
    if value is None:
        return None
    return Setting(number, match.group(1).lower(), value.group(0), unquote(value.group(0)))


def parse(text: str) -> tuple[Setting, ...]:
    """Return every setting of a file, in order. A line that PostgreSQL would refuse is passed over."""
    found = (parse_line(line, number) for number, line in enumerate(_lines(text)))
    return tuple(setting for setting in found if setting is not None)


def _lines(text: str) -> list[str]:
    # Not splitlines(): a form feed or a Unicode separator inside a value ends no line for PostgreSQL.
    lines = text.split("\n")
    return lines[:-1] if lines and lines[-1] == "" else lines


def neutralise(text: str) -> Neutralised:
    """Disable the settings of `FORCED`, find those of `REVIEWED`; every other byte of the file stays as it is."""
    lines: list[str] = []
    forced: list[Forced] = []
    review: list[Setting] = []
    for number, line in enumerate(_lines(text)):
        setting = parse_line(line, number)
        if setting is not None and setting.name in FORCED:
            value = FORCED[setting.name]
            lines.append(DISABLED_PREFIX + line)
            if value is not None:
                lines.append(f"{setting.name} = {value}")
            forced.append(Forced(number, setting.name, value))
            continue
        if setting is not None and setting.name in REVIEWED:
            review.append(setting)
        lines.append(line)
    return Neutralised("".join(line + "\n" for line in lines), tuple(forced), tuple(review))
