"""What the user asked for, as given: nothing here is judged."""

from __future__ import annotations

from barman.values import dataclass


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """The arguments of one `restore`, with configured defaults filled in.

    `backup` is an id, a name, a shortcut or `auto`; `tablespaces` are the `NAME:LOCATION` rules; `config_file` is the
    configuration file that the generated `restore_command` must name, None when the default one is in use.
    """

    backup: str
    destination: str
    target_time: str | None = None
    target_xid: str | None = None
    target_lsn: str | None = None
    target_name: str | None = None
    target_immediate: bool = False
    target_tli: str | None = None
    target_action: str | None = None
    exclusive: bool = False
    standby_mode: bool = False
    tablespaces: tuple[str, ...] = ()
    staging_wal_directory: str | None = None
    get_wal: bool = False
    partial_wal: bool = False
    restore_command: str | None = None
    recovery_conf_filename: str | None = None
    allow_missing_wal: bool = False
    skip_archive_wal: bool = False
    jobs: int = 1
    config_file: str | None = None
    barman_user: str = "barman"
