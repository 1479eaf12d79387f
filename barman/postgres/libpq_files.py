"""What libpq reads beside a connection string: the password file and the service file (manual, "The Password File",
"The Connection Service File"). Only asked whether they changed; libpq itself reads and judges them.
"""

from __future__ import annotations

import os
import re

from barman.errors import ConfigError
from barman.postgres.conninfo import parse
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MAX_SIZE = 1 << 20
_FIELD = re.compile(r"((?:[^\\:]|\\.)*)(?::|\Z)")


def beside(conninfo: str | None, environ: Mapping[str, str]) -> str:
    """The lines of both files that may decide how this connection string connects; it may hold a password.

    Lines for other hosts, users and services are left out, so that a change of them means nothing here. A file that
    cannot be read is an empty one, as it is for libpq.
    """
    try:
        parameters = parse(conninfo) if conninfo else {}
    except ConfigError:
        return ""
    service = parameters.get("service") or environ.get("PGSERVICE")
    lines = list(_service_lines(service, environ)) if service else []
    if "password" not in parameters and not environ.get("PGPASSWORD"):
        lines += _password_lines(parameters, lines, environ)
    return "\n".join(lines)


def _service_lines(service: str, environ: Mapping[str, str]) -> Iterator[str]:
    own = environ.get("PGSERVICEFILE") or os.path.join(_home(environ), ".pg_service.conf")
    shared = environ.get("PGSYSCONFDIR")
    for path in (own, os.path.join(shared, "pg_service.conf") if shared else ""):
        inside = False
        for line in _lines(path):
            if line.startswith("["):
                inside = line.rstrip() == f"[{service}]"
            elif inside and line.strip() and not line.startswith("#"):
                yield line.strip()


def _password_lines(parameters: Mapping[str, str], service: list[str], environ: Mapping[str, str]) -> list[str]:
    known = dict(parameters)
    for line in service:
        key, _, value = line.partition("=")
        known.setdefault(key.strip(), value.strip())
    path = known.get("passfile") or environ.get("PGPASSFILE") or os.path.join(_home(environ), ".pgpass")
    wanted = (known.get("host"), known.get("port"), None, known.get("user"))
    return [line for line in _lines(path) if not line.startswith("#") and _may_match(line, wanted)]


def _may_match(line: str, wanted: tuple[str | None, ...]) -> bool:
    """Whether host, port and user of a line are those wanted, as far as both say; lists of hosts match any line."""
    fields = [re.sub(r"\\(.)", r"\1", field) for field in _FIELD.findall(line)[:4]]
    return all(
        want is None or "," in want or field in ("*", want) or (want.startswith("/") and field == "localhost")
        for field, want in zip(fields, wanted, strict=False)
    )


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(_MAX_SIZE).splitlines()
    except OSError:
        return []


def _home(environ: Mapping[str, str]) -> str:
    if environ.get("HOME"):
        return environ["HOME"]
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return ""
