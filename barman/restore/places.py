"""Look at the directories of this host that a restore wants to fill. Reads only."""

from __future__ import annotations

import os

from barman.fs.durable import is_temporary
from barman.fs.tree import walk
from barman.postgres import data_directory
from barman.process import is_alive
from barman.restore.facts import DIRECTORY, FILE, LINK, PlaceFacts, is_inside
from barman.restore.marker import MARKER_NAME, parse_marker
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_LARGEST_MARKER = 1 << 20


def gather_place(
    path: str, repository: Iterable[str], known: Callable[[str], bool] | None = None, *, listed: bool = False
) -> PlaceFacts:
    """Look at a directory that a restore wants to fill; with `listed` at all that is in it.

    `known` tells whether a relative path is one that a restore of this backup makes; asked only about the content of a
    destination that an unfinished restore left, where it finds the foreign ones.
    """
    real = os.path.realpath(path)
    holder = next((item for item in repository if is_inside(real, os.path.realpath(item))), None)
    above = _nearest_existing(real)
    device, free = os.stat(above).st_dev, _free_bytes(above)
    cluster = data_directory.enclosing_data_directory(real)
    problem = ""
    if not os.path.lexists(path):
        if not os.path.isdir(above):
            problem = f"'{above}' is not a directory"
        elif not os.access(above, os.W_OK | os.X_OK):
            problem = f"'{above}' is not writable"
        return PlaceFacts(
            path,
            real,
            problem=problem,
            enclosing_cluster=cluster,
            enclosing_repository=holder,
            device=device,
            free=free,
        )
    if not os.path.isdir(path):
        return PlaceFacts(
            path, real, exists=True, enclosing_cluster=cluster, enclosing_repository=holder, device=device
        )
    try:
        names = tuple(sorted(_names(path)))
    except OSError as error:
        names, problem = (), f"'{path}' cannot be read: {error.strerror}"
    if not problem:
        problem = _why_not_ours(path)
    pid = data_directory.postmaster_pid(path)
    marker_text = _read_marker(path)
    used, content, unreadable = _look_inside(path) if names and (known is not None or listed) else (0, {}, ())
    return PlaceFacts(
        path,
        real,
        exists=True,
        is_directory=True,
        names=names,
        problem=problem,
        marker=parse_marker(marker_text),
        marker_text=marker_text,
        has_control_file=os.path.lexists(os.path.join(path, data_directory.CONTROL_FILE)),
        server_pid=pid if pid is not None and is_alive(pid) else None,
        enclosing_cluster=cluster,
        enclosing_repository=holder,
        device=device,
        free=free,
        used=used,
        foreign=(*foreign_names(content, known), *unreadable) if known is not None else unreadable,
        content=content if listed else {},
        system_id=data_directory.control_system_id(path) if listed else "",
        tablespace_links=_tablespace_links(path) if listed else {},
    )


def _why_not_ours(path: str) -> str:
    """Return why this process cannot fill a directory and give it the mode that PostgreSQL demands; "" if it can."""
    if not os.access(path, os.W_OK | os.X_OK):
        return f"'{path}' is not writable"
    if os.geteuid() not in (0, os.stat(path).st_uid):
        return f"'{path}' belongs to another user, so its permissions cannot be set"
    return ""


def _names(path: str) -> list[str]:
    names = os.listdir(path)
    # What mkfs leaves in the root of a file system is nobody's data, and neither is a marker that never got its name.
    return [
        name
        for name in names
        if not (name == "lost+found" and os.path.ismount(path))
        and not (is_temporary(name) and name.startswith(f".{MARKER_NAME}."))
    ]


def _nearest_existing(path: str) -> str:
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def _free_bytes(path: str) -> int | None:
    try:
        facts = os.statvfs(path)
    except OSError:
        return None
    return facts.f_bavail * facts.f_frsize


def _read_marker(path: str) -> str:
    try:
        with open(os.path.join(path, MARKER_NAME), encoding="utf-8", errors="replace") as file:
            return file.read(_LARGEST_MARKER)
    except OSError:
        return ""


def _look_inside(path: str) -> tuple[int, dict[str, str], tuple[str, ...]]:
    """Return the bytes in a directory, what every relative path in it is, and what could not be looked at."""
    used = 0
    content: dict[str, str] = {}
    try:
        for entry in walk(path):
            used += entry.size if entry.is_file else 0
            content[entry.relative] = DIRECTORY if entry.is_directory else LINK if entry.is_link else FILE
    except OSError as error:
        return used, content, (f"{error.filename} ({error.strerror})",)
    return used, content, ()


def foreign_names(content: Mapping[str, str], known: Callable[[str], bool]) -> tuple[str, ...]:
    """Return the files and links that a restore of this backup would not have made.

    A directory without any is in nobody's way; which empty ones an archive holds is not known before it is unpacked.
    """
    return tuple(
        name
        for name, kind in content.items()
        if kind != DIRECTORY and not known(name) and not is_temporary(os.path.basename(name))
    )


def _tablespace_links(path: str) -> dict[int, str]:
    directory = os.path.join(path, data_directory.TABLESPACE_LINKS)
    try:
        names = [name for name in os.listdir(directory) if name.isdigit()]
    except OSError:
        return {}
    return {
        int(name): os.path.realpath(os.path.join(directory, name))
        for name in names
        if os.path.islink(os.path.join(directory, name))
    }
