"""Who may be a synchronous standby: `synchronous_standby_names` read as PostgreSQL reads it. Pure."""

from __future__ import annotations

import re

_TOKEN = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([*(),])|([^\s"(),]+))')


def parse_standby_names(setting: str) -> tuple[str, ...]:
    """The names in `synchronous_standby_names`: `a, b`, `2 (a, b)`, `FIRST 2 (a, "B c")`, `ANY 1 (*)`.

    Unquoted names come back in the lower case in which PostgreSQL compares them (it compares without case anyway);
    `*` is a name of its own. What PostgreSQL would refuse yields what could be read: the server is the judge.
    """
    tokens = [_read(match) for match in _TOKEN.finditer(setting)]
    opening = next((index for index, token in enumerate(tokens) if token == ("symbol", "(")), -1)
    return tuple(name for kind, name in tokens[opening + 1 :] if kind == "name")


def is_synchronous_name(name: str, setting: str) -> bool:
    """Whether a receiver called `name` counts as synchronous standby under this setting.

    PostgreSQL compares with pg_strcasecmp, and takes `*` for any name.
    """
    names = parse_standby_names(setting)
    return "*" in names or name.lower() in (candidate.lower() for candidate in names)


def _read(match: re.Match[str]) -> tuple[str, str]:
    quoted, symbol, bare = match.groups()
    if quoted is not None:
        return "name", quoted.replace('""', '"')
    if symbol is not None:
        return ("name", "*") if symbol == "*" else ("symbol", symbol)
    return "name", bare
