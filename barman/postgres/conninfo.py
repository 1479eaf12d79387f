"""libpq connection strings: `key=value` with quoting, and URIs (PostgreSQL manual, "Connection Strings")."""

from __future__ import annotations

import re

from barman.errors import ConfigError

_KEY = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*=\s*")
_SCHEMES = ("postgresql://", "postgres://")
_NEEDS_QUOTES = re.compile(r"[\s'\\]|\A\Z")
_SECRET_KEYS = frozenset({"password", "sslpassword"})


def parse(text: str) -> dict[str, str]:
    """Return the parameters of a connection string. Raises ConfigError saying what is wrong, never showing values."""
    stripped = text.strip()
    if stripped.startswith(_SCHEMES):
        return _parse_uri(stripped)
    parameters: dict[str, str] = {}
    position = 0
    while position < len(stripped):
        match = _KEY.match(stripped, position)
        if match is None:
            raise ConfigError(f"invalid connection string: expected a parameter and '=' at character {position + 1}")
        value, position = _value(stripped, match.end())
        parameters[match.group(1)] = value
    return parameters


def _value(text: str, position: int) -> tuple[str, int]:
    out = []
    quoted = position < len(text) and text[position] == "'"
    position += quoted
    while position < len(text):
        character = text[position]
        if character == "\\":
            position += 1
            if position >= len(text):
                raise ConfigError("invalid connection string: it ends in a backslash")
            out.append(text[position])
        elif quoted and character == "'":
            return "".join(out), position + 1
        elif not quoted and character.isspace():
            break
        else:
            out.append(character)
        position += 1
    if quoted:
        raise ConfigError("invalid connection string: a quote is not closed")
    return "".join(out), position


def _parse_uri(text: str) -> dict[str, str]:
    from urllib.parse import unquote

    rest = text.split("://", 1)[1]
    rest, _, query = rest.partition("?")
    authority, _, database = rest.partition("/")
    parameters: dict[str, str] = {}
    user_info, at, hosts = authority.rpartition("@")
    if at:
        user, colon, password = user_info.partition(":")
        if user:
            parameters["user"] = unquote(user)
        if colon:
            parameters["password"] = unquote(password)
    _add_hosts(parameters, hosts)
    if database:
        parameters["dbname"] = unquote(database)
    for pair in filter(None, query.split("&")):
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise ConfigError("invalid connection URI: a query parameter has no value")
        name = unquote(key)
        parameters["sslmode" if name == "ssl" else name] = (
            "require" if name == "ssl" and value == "true" else unquote(value)
        )
    return parameters


def _add_hosts(parameters: dict[str, str], hosts: str) -> None:
    from urllib.parse import unquote

    if not hosts:
        return
    names, ports = [], []
    for item in hosts.split(","):
        if item.startswith("["):
            name, bracket, tail = item[1:].partition("]")
            if not bracket or (tail and not tail.startswith(":")):
                raise ConfigError("invalid connection URI: an IPv6 address is not closed by ']'")
            port = tail[1:]
        else:
            name, _, port = item.partition(":")
        if port and not port.isdigit():
            raise ConfigError("invalid connection URI: a port is not a number")
        names.append(unquote(name))
        ports.append(port)
    if any(names):
        parameters["host"] = ",".join(names)
    if any(ports):
        parameters["port"] = ",".join(ports)


def quote(value: str) -> str:
    """Return a value as it must stand behind `key=`."""
    if not _NEEDS_QUOTES.search(value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def format_conninfo(parameters: dict[str, str]) -> str:
    """Return parameters as a `key=value` string, keys sorted."""
    return " ".join(f"{key}={quote(parameters[key])}" for key in sorted(parameters))


def without_secrets(parameters: dict[str, str]) -> dict[str, str]:
    """Return the parameters that may stand in an argument list."""
    return {key: value for key, value in parameters.items() if key not in _SECRET_KEYS}


def describe(parameters: dict[str, str]) -> str:
    """Return host, port, user and database for messages, never a password."""
    keys: tuple[str, ...] = ("host", "hostaddr", "port", "user", "dbname")
    shown = {key: parameters[key] for key in keys if key in parameters}
    return format_conninfo(shown) or "the local default server"
