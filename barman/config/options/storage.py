"""Options that say where the data of a server lives."""

from __future__ import annotations

from barman.config import option, values
from barman.config.option import GS, OptionSet


class StorageOptions(OptionSet):
    """Directories of a server. Those of different servers must not be the same."""

    backup_directory = option.directory("%(barman_home)s/%(name)s", "Root of the data of the server.")
    basebackups_directory = option.directory("%(backup_directory)s/base", "Base backups.", kind=values.DIRECTORY_OR_URL)
    wals_directory = option.directory("%(backup_directory)s/wals", "WAL archive.", kind=values.DIRECTORY_OR_URL)
    incoming_wals_directory = option.directory(
        "%(backup_directory)s/incoming", "Where `archive_command` and `put-wal` leave WAL files."
    )
    streaming_wals_directory = option.directory(
        "%(backup_directory)s/streaming", "Where `pg_receivewal` leaves WAL files."
    )
    errors_directory = option.directory("%(backup_directory)s/errors", "WAL files that could not be archived.")
    xlogdb_directory = option.directory("%(wals_directory)s", "Holds `NAME-xlog.db`, the index of the WAL archive.", GS)
