"""The configuration of a restored cluster: nothing of the old cluster's doings, and the recovery that was asked for."""

from __future__ import annotations

import os

from barman.errors import BarmanError
from barman.fs import copying, durable
from barman.postgres import conf_file
from barman.postgres.conf_file import Setting
from barman.postgres.data_directory import CONFIGURATION_FILES, is_left_out_of_restore
from barman.restore.facts import is_inside
from barman.restore.result import SettingNote
from barman.typing import TYPE_CHECKING, Protocol
from barman.values import dataclass, field

if TYPE_CHECKING:
    from barman.postgres.version import PgVersion
    from barman.restore.step import WriteSettings
    from barman.restore.workbench import Workbench
    from barman.transport.files import Files

_MAIN = "postgresql.conf"
_AUTO = "postgresql.auto.conf"
_LARGEST = 16 * 1024 * 1024
_DEEPEST = 10


@dataclass(slots=True)
class _File:
    """One configuration file of the destination: its name from there, what it held, and what it will hold.

    `path` is where it can be read: on this host, of another one's the backup has the same.
    """

    name: str
    path: str
    old: bytes | None
    text: str
    notes: list[SettingNote] = field(default_factory=list)
    review: list[SettingNote] = field(default_factory=list)
    settings: tuple[Setting, ...] = ()


def write_settings(step: WriteSettings, bench: Workbench) -> None:
    """Disable dangerous settings wherever the server would read them, append the recovery's, create the signal file.

    Included files count when they lie in the destination. When the server's configuration, or a part of it, lies
    elsewhere, `postgresql.auto.conf`, which is read last, is made to overrule it. The two main files, and every other
    one that changes, keep their old content as `FILE.origin`.
    """
    tree = _Tree(step.destination if bench.host is None else step.source, step.destination)
    bench.missing_files += [name for name in CONFIGURATION_FILES if not tree.has(name)]
    files, elsewhere = _read_all(step, tree)
    recovery_lines = () if step.recovery is None else step.recovery.lines(step.version)
    if recovery_lines:
        bench.reporter.info("Generating recovery configuration")
    bench.reporter.info("Identify dangerous settings in destination directory.")
    if elsewhere:
        _overrule(
            files[_AUTO], step.version, keeps_restore_command=bool(step.recovery and step.recovery.restore_command)
        )
    if recovery_lines:
        file = files.setdefault(step.settings_file, _open(tree, step.settings_file))
        file.text += "\n" + "".join(line + "\n" for line in recovery_lines)
    writer = _LocalWriter(step.destination) if bench.host is None else _RemoteWriter(step.destination, bench.host.files)
    for file in files.values():
        _write(file, writer)
        bench.changes += file.notes
        bench.warnings += file.review
    signal = step.recovery.signal_file(step.version) if step.recovery else None
    if signal is not None:
        writer.write(signal, b"", 0o600)


@dataclass(frozen=True, slots=True)
class _Tree:
    """A data directory that is read at `root` and lies, or will lie, at `destination`."""

    root: str
    destination: str

    def has(self, name: str) -> bool:
        """Tell whether there is such a file, in the tree itself when that is only a copy."""
        path = os.path.join(self.root, name)
        if self.root == self.destination:
            return os.path.exists(path)
        return os.path.exists(path) and not is_left_out_of_restore(name) and self.place(path) is not None

    def place(self, path: str) -> str | None:
        """Return the name, from the root, of what a path in a setting leads to; None when that is outside."""
        if self.root != self.destination and is_inside(path, self.destination):
            path = os.path.join(self.root, os.path.relpath(path, self.destination))
        real, root = os.path.realpath(path), os.path.realpath(self.root)
        return os.path.relpath(real, root) if is_inside(real, root) else None


def _read_all(step: WriteSettings, tree: _Tree) -> tuple[dict[str, _File], bool]:
    """Return the files to write, by name, and whether a part of the configuration lies outside the destination."""
    files: dict[str, _File] = {}
    names = [_MAIN, _AUTO]
    if step.settings_file not in names:
        names.append(step.settings_file)
    elsewhere = not tree.has(_MAIN)
    for name in names:
        if name != _MAIN or not elsewhere:
            elsewhere |= _read(tree, name, files, 0)
    return files, elsewhere


def _read(tree: _Tree, name: str, files: dict[str, _File], depth: int) -> bool:
    """Read a file and what it includes; tell whether something is included from outside the destination."""
    if name in files:
        return False
    if depth > _DEEPEST:
        raise BarmanError(f"configuration files include each other too deeply at '{name}'")
    file = _open(tree, name)
    files[name] = file
    elsewhere = False
    for setting in file.settings:
        if setting.name in conf_file.INCLUDES:
            for path in _included(setting, os.path.dirname(file.path), tree):
                included = tree.place(path)
                if included is None:
                    elsewhere = True
                elif os.path.isfile(os.path.join(tree.root, included)):
                    elsewhere |= _read(tree, included, files, depth + 1)
    return elsewhere


def _included(setting: Setting, directory: str, tree: _Tree) -> list[str]:
    """Return the files that an include directive names: for a directory its `*.conf`, as PostgreSQL reads them."""
    path = os.path.join(directory, setting.value)
    if setting.name != "include_dir":
        return [path]
    place = tree.place(path)
    if place is None:
        return [path]
    path = os.path.join(tree.root, place)
    try:
        names = sorted(os.listdir(path))
    except OSError:
        return [path]
    return [os.path.join(path, name) for name in names if name.endswith(".conf") and not name.startswith(".")]


def _open(tree: _Tree, name: str) -> _File:
    path = os.path.join(tree.root, name)
    if not tree.has(name):
        return _File(name, path, None, "")
    try:
        with open(path, "rb") as reader:
            data = reader.read(_LARGEST + 1)
    except FileNotFoundError:
        return _File(name, path, None, "")
    if len(data) > _LARGEST:
        raise BarmanError(f"configuration file '{path}' is larger than {_LARGEST} bytes")
    text = data.decode("utf-8", "surrogateescape")
    result = conf_file.neutralise(text)
    notes = [SettingNote(name, item.line, item.name, item.value) for item in result.forced]
    review = [SettingNote(name, item.line, item.name, item.raw) for item in result.review]
    return _File(name, path, data, result.text if result.forced else text, notes, review, conf_file.parse(text))


def _overrule(file: _File, version: PgVersion, *, keeps_restore_command: bool) -> None:
    """Append settings to the file that is read last, against those that cannot be seen from here."""
    settings = {"archive_command": "false"}
    if version.number >= 150000:
        settings["archive_library"] = "''"
    if not version.has_recovery_conf:
        names = ("primary_conninfo", "primary_slot_name", "recovery_end_command", "archive_cleanup_command")
        settings.update(dict.fromkeys(names, "''"))
        if not keeps_restore_command:
            settings["restore_command"] = "''"
    if any(note.key == "archive_command" for note in file.notes):
        del settings["archive_command"]
    if file.text and not file.text.endswith("\n"):
        file.text += "\n"
    for name, value in settings.items():
        file.notes.append(SettingNote(file.name, file.text.count("\n"), name, value))
        file.text += f"{name} = {value}\n"


def _write(file: _File, writer: _Writer) -> None:
    data = file.text.encode("utf-8", "surrogateescape")
    if data == file.old and file.name not in (_MAIN, _AUTO):
        return
    mode = 0o600
    if file.old is not None:
        mode = os.stat(file.path).st_mode & 0o7777
        writer.keep(file, mode)
    writer.write(file.name, data, mode)


class _Writer(Protocol):
    """Writes into a destination."""

    def keep(self, file: _File, mode: int) -> None:
        """Leave the old content as `FILE.origin`."""

    def write(self, name: str, data: bytes, mode: int) -> None:
        """Replace a file."""


class _LocalWriter:
    """Writes on this host."""

    def __init__(self, destination: str) -> None:
        self._destination = destination

    def keep(self, file: _File, mode: int) -> None:  # copied with the file
        durable.sweep_temporaries(os.path.dirname(file.path))
        copying.copy_file(file.path, f"{file.path}.origin")

    def write(self, name: str, data: bytes, mode: int) -> None:
        path = os.path.join(self._destination, name)
        durable.write_atomic(path, data, mode)
        copying.own_like(path, self._destination)


class _RemoteWriter:
    """Writes on another host."""

    def __init__(self, destination: str, files: Files) -> None:
        self._destination = destination
        self._files = files

    def keep(self, file: _File, mode: int) -> None:
        self.write(f"{file.name}.origin", file.old or b"", mode)

    def write(self, name: str, data: bytes, mode: int) -> None:
        self._files.write(os.path.join(self._destination, name), data, mode)
