"""`barman restore` (alias `recover`): restore a backup, to its end or to a point in time."""

from __future__ import annotations

import argparse
import os

from barman.cli.arguments import BACKUP_ID_HELP, add_server, at_least
from barman.errors import BarmanError
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from barman.cli.context import Context
    from barman.config.server_config import ServerConfig
    from barman.restore.request import RestoreRequest

_TUNE_A_TRANSFER = (
    "bwlimit",
    "retry-times",
    "retry-sleep",
    "jobs-start-batch-size",
    "jobs-start-batch-period",
    "recovery-option-port",
)
_PATIENCE_SECONDS = 3.0
_TUNE_STAGING = ("staging-path", "staging-location", "local-staging-path", "recovery-staging-path", "combine-mode")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_server(parser)
    parser.add_argument(
        "backup_id", metavar="BACKUP_ID", help=f"{BACKUP_ID_HELP}; or auto: the newest backup that serves the target"
    )
    parser.add_argument(
        "destination_directory",
        metavar="DESTINATION",
        type=_destination,
        help="directory for the restored cluster: missing or empty",
    )
    _add_targets(parser)
    _add_wal(parser)
    _add_places(parser)
    _add_copy(parser)
    _add_snapshots(parser)


def _add_targets(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--target-time", metavar="TS", help="recover to a moment; write the time zone, else it is that of this host"
    )
    parser.add_argument("--target-xid", metavar="XID", help="recover to a transaction")
    parser.add_argument("--target-lsn", metavar="LSN", help="recover to a WAL position")
    parser.add_argument("--target-name", metavar="NAME", help="recover to a restore point")
    parser.add_argument("--target-immediate", action="store_true", help="recover just to a consistent state")
    parser.add_argument(
        "--target-tli",
        metavar="TLI",
        type=_timeline,
        help="timeline to follow: a number, current (the backup's) or latest; without it the target decides",
    )
    parser.add_argument("--exclusive", action="store_true", help="stop just before the target instead of after it")
    parser.add_argument(
        "--target-action",
        choices=("pause", "shutdown", "promote"),
        help="at the target: wait (pause, PostgreSQL's default), stop, or open the server (promote)",
    )
    parser.add_argument("--standby-mode", action="store_true", help="restore a standby")


def _add_wal(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--get-wal", dest="get_wal", action="store_true", default=None, help="let the server fetch WAL from Barman"
    )
    parser.add_argument(
        "--no-get-wal", dest="get_wal", action="store_false", help="copy WAL now, whatever recovery_options says"
    )
    parser.add_argument(
        "--partial-wal",
        action="store_true",
        default=None,
        help="demand that the newest unfinished WAL segment can be used; without it, it is used where it helps",
    )
    parser.add_argument(
        "--no-partial-wal", dest="partial_wal", action="store_false", help="end with the last whole WAL segment"
    )
    parser.add_argument("--restore-command", metavar="COMMAND", help="with get-wal: the restore_command to write")
    parser.add_argument(
        "--allow-missing-wal",
        action="store_true",
        help="go on although WAL before the target is missing; changes after the hole are lost",
    )
    parser.add_argument(
        "--skip-archive-wal", action="store_true", help="do not archive waiting WAL first; it is then not restored"
    )
    parser.add_argument(
        "--staging-wal-directory",
        metavar="DIR",
        help="directory for the WAL of a recovery with a target, removed at its end (default: DESTINATION/barman_wal)",
    )
    parser.add_argument(
        "--recovery-conf-filename",
        metavar="FILE",
        help="file name for the recovery settings (default: postgresql.auto.conf)",
    )
    parser.add_argument(
        "--recovery-option-port",
        metavar="PORT",
        type=at_least(1),
        help="with get-wal on another host: the port of this host's sshd, for the restore_command that is written",
    )


def _add_places(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tablespace",
        metavar="NAME:LOCATION",
        action="append",
        default=[],
        help="restore a tablespace to another directory; may be given several times",
    )
    parser.add_argument(
        "--remote-ssh-command",
        metavar="COMMAND",
        type=_ssh_command,
        help="restore to the host that this ssh command leads to ('ssh postgres@host'); it needs rsync",
    )
    parser.add_argument(
        "--staging-path",
        metavar="DIR",
        type=_absolute,
        help="remote and delta restores: where, on this host, WAL and compressed backups are unpacked and chains of "
        "incremental backups combined (default: TMPDIR, /tmp)",
    )
    parser.add_argument(
        "--staging-location", choices=("local", "remote"), help="accepted, no effect: the staging path is on this host"
    )
    parser.add_argument(
        "--local-staging-path", metavar="DIR", type=_absolute, help="deprecated: use --staging-path, which wins"
    )
    parser.add_argument(
        "--recovery-staging-path", metavar="DIR", type=_absolute, help="deprecated, without effect: use --staging-path"
    )
    parser.add_argument(
        "--combine-mode",
        choices=("copy", "link", "clone", "copy-file-range"),
        help="how pg_combinebackup takes over files of an incremental backup's chain; link only in the staging path",
    )
    parser.add_argument(
        "--delta-restore",
        dest="delta_restore",
        action="store_true",
        default=None,
        help="overwrite a cluster of the same server: copy only what differs, remove what the backup does not have",
    )
    parser.add_argument(
        "--no-delta-restore", dest="delta_restore", action="store_false", help="demand an empty destination"
    )


def _add_copy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-j", "--jobs", metavar="N", type=at_least(1), help="files copied at once")
    parser.add_argument(
        "--jobs-start-batch-size", metavar="N", type=at_least(1), help="remote restores: workers started at once"
    )
    parser.add_argument(
        "--jobs-start-batch-period", metavar="SECONDS", type=at_least(1), help="remote restores: pause between starts"
    )
    parser.add_argument("--bwlimit", metavar="KBPS", type=at_least(0), help="remote restores: limit of the transfer")
    parser.add_argument(
        "--retry-times", metavar="N", type=at_least(0), help="remote restores: how often a copy is repeated"
    )
    parser.add_argument(
        "--no-retry", dest="retry_times", action="store_const", const=0, help="remote restores: never repeat"
    )
    parser.add_argument(
        "--retry-sleep", metavar="SECONDS", type=at_least(0), help="remote restores: pause before repeating"
    )
    parser.add_argument(
        "--network-compression",
        dest="network_compression",
        action="store_true",
        default=None,
        help="remote restores: compress the transfer",
    )
    parser.add_argument(
        "--no-network-compression",
        dest="network_compression",
        action="store_false",
        help="remote restores: do not compress",
    )


def _add_snapshots(parser: argparse.ArgumentParser) -> None:
    for names in (
        ("--snapshot-recovery-instance",),
        ("--gcp-zone", "--snapshot-recovery-zone"),
        ("--azure-resource-group",),
        ("--aws-region",),
    ):
        parser.add_argument(*names, help=argparse.SUPPRESS)


def _timeline(text: str) -> str:
    if text in ("current", "latest") or (text.isascii() and text.isdigit() and int(text) > 0):
        return text
    raise argparse.ArgumentTypeError(f"'{text}' is not a positive number, 'current' or 'latest'")


def _absolute(text: str) -> str:
    if not os.path.isabs(text):
        raise argparse.ArgumentTypeError(f"'{text}' is not an absolute path")
    return text


def run(args: argparse.Namespace, context: Context) -> None:
    """Restore one backup on this host or another one."""
    server = context.server(args.server_name, disabled="error")
    if server is None:
        return
    _refuse_what_is_not_built(args)
    remote = args.remote_ssh_command is not None
    for warning in _without_effect(args, remote=remote):
        context.reporter.warning(warning)
    from barman.restore.run import restore

    repository = tuple(
        directory for config in context.settings.servers.values() for directory in config.layout().directories()
    )
    with server:
        restore(server, _request(args, server.config, context), context.reporter, tuple(dict.fromkeys(repository)))


def _destination(text: str) -> str:
    if not text.strip() or text.startswith("~"):
        # An empty variable of a script means the current directory to nobody; ~ is for the shell to replace.
        raise argparse.ArgumentTypeError(f"'{text}' is not a directory to restore into")
    return os.path.abspath(text)


def _refuse_what_is_not_built(args: argparse.Namespace) -> None:
    """Refuse options that would change the result and are not there yet; those that only tune a copy are accepted."""
    if args.network_compression and not args.remote_ssh_command:
        raise BarmanError(
            "Network compression can only be used with the '--remote-ssh-command' option: the restore is local"
        )
    if args.staging_location == "remote" and not args.remote_ssh_command:
        raise BarmanError("--staging-location remote requires --remote-ssh-command")
    for option, given in (
        ("--snapshot-recovery-instance", args.snapshot_recovery_instance),
        ("--gcp-zone", args.gcp_zone),
        ("--azure-resource-group", args.azure_resource_group),
        ("--aws-region", args.aws_region),
    ):
        if given:
            raise BarmanError(
                f"{option} is not supported by this version", hint="Restore a backup that is no snapshot."
            )


def _without_effect(args: argparse.Namespace, *, remote: bool) -> Iterator[str]:
    """Yield what to tell about options that change nothing: they tune what is not done here."""
    given = () if remote else _given(args, _TUNE_A_TRANSFER)
    if given:
        yield f"{', '.join(given)}: no effect, the restore is local"


def _given(args: argparse.Namespace, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"--{name}" for name in names if getattr(args, name.replace("-", "_")) is not None)


def _request(args: argparse.Namespace, config: ServerConfig, context: Context) -> RestoreRequest:
    from barman.restore.request import RestoreRequest

    get_wal = "get-wal" in config.recovery_options if args.get_wal is None else args.get_wal
    delta = "delta-restore" in config.recovery_options if args.delta_restore is None else args.delta_restore
    compress = config.network_compression if args.network_compression is None else args.network_compression
    staging = args.staging_wal_directory
    remote = args.remote_ssh_command is not None
    return RestoreRequest(
        backup=args.backup_id,
        destination=args.destination_directory,
        target_time=args.target_time,
        target_xid=args.target_xid,
        target_lsn=args.target_lsn,
        target_name=args.target_name,
        target_immediate=args.target_immediate,
        target_tli=args.target_tli,
        target_action=args.target_action,
        exclusive=args.exclusive,
        standby_mode=args.standby_mode,
        tablespaces=tuple(args.tablespace),
        staging_wal_directory=os.path.abspath(staging) if staging else None,
        get_wal=get_wal,
        partial_wal=args.partial_wal,
        restore_command=args.restore_command,
        recovery_conf_filename=args.recovery_conf_filename,
        allow_missing_wal=args.allow_missing_wal,
        skip_archive_wal=args.skip_archive_wal,
        # Threads that copy on this host cost nothing; connections to another one are what was configured.
        jobs=args.jobs or (config.parallel_jobs if remote else max(config.parallel_jobs, 2)),
        delta=delta,
        remote_ssh_command=args.remote_ssh_command,
        staging_path=args.staging_path or config.staging_path or args.local_staging_path or config.local_staging_path,
        combine_mode=args.combine_mode or config.combine_mode,
        staging_options=_given(args, _TUNE_STAGING),
        network_compression=compress,
        bandwidth_limit=config.bandwidth_limit if args.bwlimit is None else args.bwlimit,
        tablespace_bandwidth_limit=(config.tablespace_bandwidth_limit or {}) if args.bwlimit is None else {},
        start_batch_size=args.jobs_start_batch_size or config.parallel_jobs_start_batch_size,
        start_batch_period=args.jobs_start_batch_period or config.parallel_jobs_start_batch_period,
        retry_times=config.basebackup_retry_times if args.retry_times is None else args.retry_times,
        retry_sleep=config.basebackup_retry_sleep if args.retry_sleep is None else args.retry_sleep,
        barman_port=args.recovery_option_port,
        barman_host=_host_name() if remote and get_wal else "",
        config_file=_named_config_file(context.config_file),
        barman_user=context.settings.barman.barman_user,
    )


def _ssh_command(text: str) -> str:
    from barman.errors import TransportError
    from barman.transport.ssh_command import split_ssh_command

    try:
        split_ssh_command(text)
    except TransportError as error:
        raise argparse.ArgumentTypeError(error.message) from error
    return text


def _host_name() -> str:
    """Return what the restored server may call this host; a name service that does not answer is not waited for."""
    import socket
    import threading

    found = [socket.gethostname()]
    asking = threading.Thread(target=lambda: found.append(socket.getfqdn()), daemon=True)
    asking.start()
    asking.join(_PATIENCE_SECONDS)
    return found[-1]


def _named_config_file(path: str) -> str | None:
    """Return the configuration file when a command without `-c` would not find it."""
    from barman.config.loader import DEFAULT_FILES

    defaults = [os.path.expanduser(default) for default in DEFAULT_FILES]
    return None if path in defaults else os.path.abspath(path)
