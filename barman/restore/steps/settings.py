"""The configuration of a restored cluster: nothing of the old cluster's doings, and the recovery that was asked for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from barman.errors import BarmanError
from barman.fs import copying, durable
from barman.postgres import conf_file
from barman.postgres.conf_file import Setting
from barman.postgres.data_directory import CONFIGURATION_FILES
from barman.restore.facts import is_inside
from barman.restore.result import SettingNote
from barman.values import dataclass, field

if TYPE_CHECKING:
    from barman.postgres.version import PgVersion
    from barman.restore.step import WriteSettings
    from barman.restore.workbench import Workbench

_MAIN = "postgresql.conf"
_AUTO = "postgresql.auto.conf"
_LARGEST = 16 * 1024 * 1024
_DEEPEST = 10


@dataclass(slots=True)
class _File:
    """One configuration file of the destination: its name from there, what it held, and what it will hold."""

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
    destination = step.destination
    bench.missing_files += [name for name in CONFIGURATION_FILES if not os.path.exists(os.path.join(destination, name))]
    files, elsewhere = _read_all(step)
    recovery_lines = () if step.recovery is None else step.recovery.lines(step.version)
    if recovery_lines:
        bench.reporter.info("Generating recovery configuration")
    bench.reporter.info("Identify dangerous settings in destination directory.")
    if elsewhere:
        _overrule(
            files[_AUTO], step.version, keeps_restore_command=bool(step.recovery and step.recovery.restore_command)
        )
    if recovery_lines:
        file = files.setdefault(step.settings_file, _open(destination, step.settings_file))
        file.text += "\n" + "".join(line + "\n" for line in recovery_lines)
    for file in files.values():
        _write(file, destination)
        bench.changes += file.notes
        bench.warnings += file.review
    signal = step.recovery.signal_file(step.version) if step.recovery else None
    if signal is not None:
        path = os.path.join(destination, signal)
        durable.write_atomic(path, b"", 0o600)
        copying.own_like(path, destination)


def _read_all(step: WriteSettings) -> tuple[dict[str, _File], bool]:
    """Return the files to write, by name, and whether a part of the configuration lies outside the destination."""
    files: dict[str, _File] = {}
    names = [_MAIN, _AUTO]
    if step.settings_file not in names:
        names.append(step.settings_file)
    elsewhere = not os.path.exists(os.path.join(step.destination, _MAIN))
    for name in names:
        if name != _MAIN or not elsewhere:
            elsewhere |= _read(step.destination, name, files, 0)
    return files, elsewhere


def _read(destination: str, name: str, files: dict[str, _File], depth: int) -> bool:
    """Read a file and what it includes; tell whether something is included from outside the destination."""
    if name in files:
        return False
    if depth > _DEEPEST:
        raise BarmanError(f"configuration files include each other too deeply at '{name}'")
    file = _open(destination, name)
    files[name] = file
    elsewhere = False
    for setting in file.settings:
        if setting.name in conf_file.INCLUDES:
            for path in _included(setting, os.path.dirname(file.path)):
                real = os.path.realpath(path)
                root = os.path.realpath(destination)
                if not is_inside(real, root):
                    elsewhere = True
                elif os.path.isfile(real):
                    elsewhere |= _read(destination, os.path.relpath(real, root), files, depth + 1)
    return elsewhere


def _included(setting: Setting, directory: str) -> list[str]:
    """Return the files that an include directive names: for a directory its `*.conf`, as PostgreSQL reads them."""
    path = os.path.join(directory, setting.value)
    if setting.name != "include_dir":
        return [path]
    try:
        names = sorted(os.listdir(path))
    except OSError:
        return [path]
    return [os.path.join(path, name) for name in names if name.endswith(".conf") and not name.startswith(".")]


def _open(destination: str, name: str) -> _File:
    path = os.path.join(destination, name)
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


def _write(file: _File, destination: str) -> None:
    data = file.text.encode("utf-8", "surrogateescape")
    if data == file.old and file.name not in (_MAIN, _AUTO):
        return
    mode = 0o600
    if file.old is not None:
        mode = os.stat(file.path).st_mode & 0o7777
        durable.sweep_temporaries(os.path.dirname(file.path))
        copying.copy_file(file.path, f"{file.path}.origin")
    durable.write_atomic(file.path, data, mode)
    copying.own_like(file.path, destination)
