"""View of `restore` (cli reference, section 5): what was changed in the configuration, and what to look at."""

from __future__ import annotations

import os
from datetime import timedelta

from barman.timestamps import format_ctime, format_epoch, format_timestamp
from barman.typing import TYPE_CHECKING, Any
from barman.units import format_age

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from barman.restore.result import RestoreResult, SettingNote

    Write = Callable[[str], None]


class RestoreResultView:
    """The closing block of a restore."""

    @staticmethod
    def console(result: RestoreResult, write: Write) -> None:
        """Write the blocks that have something to say, then the closing lines."""
        _settings_block(write, "IMPORTANT", "These settings have been modified to prevent data losses", result.changes)
        _settings_block(
            write, "WARNING", "These settings may not fit this host: review them before starting", result.warnings
        )
        if result.missing_files:
            write("")
            write("WARNING")
            write("These configuration files are not in the backup: supply them before starting the server")
            write("")
            for name in result.missing_files:
                write(f"    {name}")
        if result.get_wal:
            write("")
            write("WARNING: 'get-wal' is in the specified 'recovery_options'.")
            write("The restored server fetches its WAL files from Barman while it recovers.")
            write(f"Review the recovery settings in '{result.settings_path}' before starting the server.")
        write("")
        elapsed = format_age(timedelta(seconds=result.elapsed))
        write(f"Restore operation completed (start time: {format_timestamp(result.started)}, elapsed time: {elapsed})")
        write("Your PostgreSQL server has been successfully prepared for recovery!")

    @staticmethod
    def json(result: RestoreResult) -> dict[str, Any]:
        """The fields of the original, at the top level."""
        notes = []
        if result.changes:
            notes.append("IMPORTANT! Some settings have been modified to prevent data losses. See 'changes' key.")
        if result.warnings:
            notes.append("Some settings may not fit this host: review them before starting. See 'warnings' key.")
        if result.missing_files:
            notes.append("Some configuration files are not in the backup. See 'missing_files' key.")
        return {
            **({"_WARNING": notes} if notes else {}),
            "changes": [_row(note) for note in result.changes],
            "changes_count": len(result.changes),
            "warnings": [_row(note) for note in result.warnings],
            "warnings_count": len(result.warnings),
            "missing_files": list(result.missing_files),
            "recovery_start_time": format_ctime(result.started),
            "recovery_start_time_timestamp": format_epoch(result.started),
            "recovery_elapsed_time": format_age(timedelta(seconds=result.elapsed)),
            "recovery_elapsed_time_seconds": result.elapsed,
        }


def _settings_block(write: Write, title: str, explanation: str, notes: Iterable[SettingNote]) -> None:
    lines = [f"{os.path.basename(note.file)} line {note.line}: {note.key} = {note.value}" for note in notes]
    if not lines:
        return
    write("")
    write(title)
    write(explanation)
    write("")
    for line in lines:
        write(line)


def _row(note: SettingNote) -> list[Any]:
    return [note.file, note.line, note.key, note.value]
