"""What the user asked for, as given: nothing here is judged."""

from __future__ import annotations

from barman.typing import TYPE_CHECKING
from barman.values import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """The arguments of one `restore`, with configured defaults filled in.

    `backup` is an id, a name, a shortcut or `auto`; `tablespaces` are the `NAME:LOCATION` rules; `config_file` is the
    configuration file that the generated `restore_command` must name, None when the default one is in use. What follows
    `remote_ssh_command` matters on another host only; `barman_port` is where the restored server finds Barman's sshd.
    `staging_options` are those options of the command line that matter only to a backup that is prepared first.
    `partial_wal` is None unless it was said whether the newest unfinished segment is used: then it is, where it helps.
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
    partial_wal: bool | None = None
    restore_command: str | None = None
    recovery_conf_filename: str | None = None
    allow_missing_wal: bool = False
    skip_archive_wal: bool = False
    jobs: int = 1
    delta: bool = False
    remote_ssh_command: str | None = None
    staging_path: str | None = None
    combine_mode: str = "copy"
    staging_options: tuple[str, ...] = ()
    network_compression: bool = False
    bandwidth_limit: int | None = None
    tablespace_bandwidth_limit: Mapping[str, int] = field(default_factory=dict)
    start_batch_size: int = 10
    start_batch_period: float = 1.0
    retry_times: int = 0
    retry_sleep: float = 30.0
    barman_port: int | None = None
    config_file: str | None = None
    barman_user: str = "barman"
    barman_host: str = "localhost"
