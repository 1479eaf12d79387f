"""Look at another host before a restore onto it: one round trip for all places, over the way that the data will take.

What is asked is what `restore.places` looks at on this host, and whether rsync is there. Reads only; needs a POSIX
shell and its programs.
"""

from __future__ import annotations

import os
import posixpath

from barman.errors import CommandFailed
from barman.fs.durable import is_temporary
from barman.postgres import data_directory
from barman.restore.facts import DIRECTORY, FILE, LINK, PlaceFacts, is_inside
from barman.restore.marker import MARKER_NAME, parse_marker
from barman.restore.places import foreign_names
from barman.transport.files import run_script
from barman.transport.rsync import MINIMUM_VERSION, parse_version
from barman.typing import TYPE_CHECKING
from barman.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from barman.transport.host import Host

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_KINDS = {"d": DIRECTORY, "l": LINK, "f": FILE}
_END_OF_CONTENT = "end"

# Answers are fields that end with NUL, in pairs of key and value; each place begins with the key `place`. A listing is
# the key `content` and then its entries, whose first letter is their kind, up to `end`.
_SCRIPT = r"""
listed=$1; shift; unset CDPATH
put() { printf '%s\000' "$1" "$2"; }
real() { (cd -P "$1" 2>/dev/null && pwd -P) || printf '%s\n' "$1"; }
there() { [ -e "$1" ] || [ -L "$1" ]; }
up() { up=${1%/*}; [ -n "$up" ] || up=/; }
alive() {
  case $1 in ''|*[!0-9]*) return 1;; esac
  if [ -r "/proc/$1/status" ]; then ! grep -q '^State:.*Z' "/proc/$1/status"; return; fi
  kill -0 "$1" 2>/dev/null || ps -p "$1" >/dev/null 2>&1
}
enclosing() {
  above=$1
  while [ "$above" != / ]; do
    if [ -f "$above/PG_VERSION" ] && [ -d "$above/global" ]; then put cluster "$above"; return; fi
    up "$above"; above=$up
  done
}
names() {
  for name in * .[!.]* ..?*; do
    if there "$name"; then put name "$name"; count=$((count + 1)); [ "$count" -lt 64 ] || return 0; fi
  done
}
content() {
  put used "$(du -sk . 2>/dev/null | cut -f 1)"
  printf 'content\000'
  find . \( -type d -exec printf 'd%s\000' {} + \) -o \( -type l -exec printf 'l%s\000' {} + \) \
    -o -exec printf 'f%s\000' {} + || printf 'broken\000'
  printf 'end\000'
}
inside() {
  ls >/dev/null 2>&1 || { put unreadable yes; return; }
  count=0; names
  put owner "$(ls -ldn . | { read -r mode links owner rest; printf '%s' "$owner"; })"
  marked=no
  if [ -f "$marker" ]; then marked=yes; put marker "$(head -c 1048576 "$marker")"; fi
  if [ -f postmaster.pid ]; then
    read -r pid < postmaster.pid
    if alive "${pid#-}"; then put server "${pid#-}"; fi
  fi
  if there global/pg_control; then
    put control yes; marked=no
    put system "$(od -An -tx1 -N8 global/pg_control 2>/dev/null | tr -d ' \n')"
  fi
  if [ "$path" = "$destination" ] && [ "$marked" = yes ]; then listed=yes; fi
  for link in pg_tblspc/*; do if [ -L "$link" ]; then put "link ${link#pg_tblspc/}" "$(real "$link")"; fi; done
  if [ "$listed" = yes ] && [ "$count" -gt 0 ]; then content; fi
}
place() {
  path=$1; put place "$path"
  at=$path
  until there "$at"; do up "$at"; at=$up; done
  actual=$at; if [ -d "$at" ]; then actual=$(real "$at"); put directory yes; fi
  put at "$at"; put actual "$actual"
  if [ -w "$at" ] && [ -x "$at" ]; then put writable yes; fi
  put df "$(df -Pk "$actual" 2>/dev/null | tail -n 1)"
  if [ "$at" != "$path" ]; then enclosing "$actual"; return; fi
  up "$actual"; enclosing "$up"
  if [ -d "$path" ]; then (cd "$path" 2>/dev/null && inside || put unreadable yes); fi
}
put uid "$(id -u)"; put boot "$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)"
put node "$(uname -n)"; put rsync "$(rsync --version 2>&1 | head -n 1)"
marker=$1; destination=$2; shift
for item do
  place "$item"
  if [ "$item" = "$destination" ] && [ -f "$item/$marker" ] && ! there "$item/global/pg_control"; then listed=yes; fi
done
put done yes
"""


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen on another host; `refusals` is what speaks against any restore onto it."""

    places: Mapping[str, PlaceFacts]
    refusals: tuple[str, ...]
    machine: str
    """What tells the host from others: two ssh commands may lead to one."""


def look_at_places(
    host: Host,
    paths: Sequence[str],
    repository: Sequence[str],
    known: Callable[[str], Callable[[str], bool] | None],
    *,
    listed: bool,
) -> Look:
    """Look at places, the destination first; see `restore.places.gather_place` for `known` and `listed`.

    Raises Unreachable, FileFailed when the shell there does not do what it is told.
    """
    values = ["yes" if listed else "no", MARKER_NAME, *paths]
    # Through OpenSSH, which rsync uses: a way that is only open to the control connection would be found too late.
    answer = run_script(host.link, "look at the destination", _SCRIPT, values)
    fields = answer.split(b"\0")
    if fields[-3:] != [b"done", b"yes", b""]:
        raise CommandFailed(f"'{host.description}' did not answer to its end while looking at the destination")
    general, groups = _parse(iter(fields[:-3]))
    own_repository = repository if _is_this_host(general.get("boot", "")) else ()
    mounts: dict[str, int] = {}
    if [group.single["place"] for group in groups] != list(paths):
        raise CommandFailed(f"'{host.description}' did not answer what it was asked about the destination")
    facts = [_Place(group, general, mounts, own_repository) for group in groups]
    unfinished = bool(facts) and facts[0].is_unfinished
    places = {item.path: item.facts(known(item.path) if unfinished else None, listed=listed) for item in facts}
    machine = f"{general.get('boot') or host.description} {general.get('node', '')}"
    return Look(places, _judge_rsync(general.get("rsync", ""), host), machine)


def _judge_rsync(text: str, host: Host) -> tuple[str, ...]:
    version = parse_version(text)
    if version is None:
        return (f"there is no usable rsync on the destination host ('{host.description}'): {text.strip()}",)
    if version < MINIMUM_VERSION:
        shown = ".".join(map(str, version))
        return (f"rsync {shown} on the destination host ('{host.description}') is too old: 3.1 or later is needed",)
    return ()


def _is_this_host(boot_id: str) -> bool:
    try:
        with open(_BOOT_ID, encoding="ascii") as file:
            return bool(boot_id) and file.read().strip() == boot_id
    except OSError:
        return False


class _Group:
    """The fields of one place."""

    def __init__(self) -> None:
        self.single: dict[str, str] = {}
        self.names: list[str] = []
        self.links: dict[int, str] = {}
        self.content: dict[str, str] | None = None
        self.broken = False


def _parse(fields: Iterator[bytes]) -> tuple[dict[str, str], list[_Group]]:
    general: dict[str, str] = {}
    groups: list[_Group] = []
    for raw in fields:
        key = os.fsdecode(raw)
        if key == "content":
            _parse_content(fields, groups[-1])
            continue
        value = os.fsdecode(next(fields, b""))
        if key == "place":
            groups.append(_Group())
        if not groups:
            general[key] = value
        elif key == "name":
            groups[-1].names.append(value)
        elif key.startswith("link ") and (oid := _number(key[5:])) is not None:
            groups[-1].links[oid] = value
        else:
            groups[-1].single[key] = value
    return general, groups


def _parse_content(fields: Iterator[bytes], group: _Group) -> None:
    group.content = {}
    for raw in fields:
        entry = os.fsdecode(raw)
        if entry == _END_OF_CONTENT:
            return
        if entry == "broken":
            group.broken = True
        elif len(entry) > 3:
            group.content[entry[3:]] = _KINDS.get(entry[0], FILE)


class _Place:
    """One place, from what was said about it to facts."""

    def __init__(
        self, group: _Group, general: Mapping[str, str], mounts: dict[str, int], repository: Sequence[str]
    ) -> None:
        said = group.single
        self._group, self._said = group, said
        self.path = said["place"]
        self._uid = general.get("uid", "")
        rest = self.path[len(said.get("at", self.path)) :].strip("/")
        actual = said.get("actual", self.path)
        self._real = posixpath.join(actual, rest) if rest else actual
        self._exists = not rest
        self._free, mount = _parse_df(said.get("df", ""))
        self._device = mounts.setdefault(mount, len(mounts) + 1)
        self._is_mount = mount == self._real
        self._repository = next((item for item in repository if is_inside(self._real, os.path.realpath(item))), None)

    @property
    def is_unfinished(self) -> bool:
        return parse_marker(self._said.get("marker", "")) is not None and "control" not in self._said

    def facts(self, known: Callable[[str], bool] | None, *, listed: bool) -> PlaceFacts:
        said, group = self._said, self._group
        content = group.content or {}
        is_directory = self._exists and "directory" in said
        names = self._names() if is_directory else ()
        marker_text = said.get("marker", "")
        return PlaceFacts(
            self.path,
            self._real,
            exists=self._exists,
            is_directory=is_directory,
            names=names,
            problem=self._problem(),
            marker=parse_marker(marker_text),
            has_control_file="control" in said,
            server_pid=_number(said.get("server", "")),
            enclosing_cluster=said.get("cluster"),
            enclosing_repository=self._repository,
            device=self._device,
            free=self._free,
            used=(_number(said.get("used", "")) or 0) * 1024 if names else 0,
            foreign=self._foreign(content, known) if names else (),
            marker_text=marker_text,
            content=content if listed else {},
            system_id=_parse_hexadecimal(said.get("system", "")) if listed else "",
            tablespace_links=group.links,
        )

    def _foreign(self, content: Mapping[str, str], known: Callable[[str], bool] | None) -> tuple[str, ...]:
        unreadable = ("what cannot be read",) if self._group.broken else ()
        return (*foreign_names(content, known), *unreadable) if known is not None else unreadable

    def _names(self) -> tuple[str, ...]:
        return tuple(
            name
            for name in sorted(self._group.names)
            if not (name == "lost+found" and self._is_mount)
            and not (is_temporary(name) and name.startswith(f".{MARKER_NAME}."))
        )

    def _problem(self) -> str:
        said = self._said
        if not self._exists:
            if "directory" not in said:
                return f"'{said.get('at')}' is not a directory"
            return "" if "writable" in said else f"'{said.get('at')}' is not writable"
        if "directory" not in said:
            return ""
        if "unreadable" in said:
            return f"'{self.path}' cannot be read"
        if "writable" not in said:
            return f"'{self.path}' is not writable"
        if self._uid not in ("0", said.get("owner", self._uid)):
            return f"'{self.path}' belongs to another user, so its permissions cannot be set"
        return ""


def _parse_df(line: str) -> tuple[int | None, str]:
    """Return the free bytes and the mount point in the last line of `df -Pk`."""
    words = line.split(" ")
    places = [index for index, word in enumerate(words) if word.endswith("%") and word[:-1].isdigit()]
    if not places:
        return None, ""
    before = [word for word in words[: places[0]] if word]
    # Beyond what is reserved for root some systems count below nothing.
    free = _number(before[-1].removeprefix("-")) if before else None
    if free is not None:
        free = 0 if before[-1].startswith("-") else free * 1024
    return free, " ".join(words[places[0] + 1 :]).strip(" ")


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _parse_hexadecimal(text: str) -> str:
    try:
        return data_directory.parse_system_id(bytes.fromhex(text))
    except ValueError:
        return ""
