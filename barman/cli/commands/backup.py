"""`barman backup`: take a backup of one or more servers."""

from __future__ import annotations

import argparse
import os

from barman.cli.arguments import add_servers, at_least
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from barman.backup.request import Overrides
    from barman.cli.context import Context
    from barman.server.server import Server

_OTHER_METHODS = (
    "jobs",
    "jobs-start-batch-size",
    "jobs-start-batch-period",
    "keepalive-interval",
    "cloud-staging-directory",
    "cloud-staging-max-size",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_servers(parser)
    parser.add_argument("--name", type=_name, help="a name for the backup, usable wherever its id is")
    parser.add_argument(
        "--incremental",
        metavar="BACKUP_ID",
        help="take a block-level incremental backup from this parent: an id, a name or a shortcut such as last-full",
    )
    parser.add_argument("-w", "--wait", action="store_true", help="wait until all WAL of the backup is archived")
    parser.add_argument(
        "--wait-timeout", metavar="SECONDS", type=at_least(0), help="limit for --wait; 0 or none: wait for ever"
    )
    parser.add_argument(
        "--check-timeout", metavar="SECONDS", type=at_least(0), help="limit for the check before the backup"
    )
    _add_speed(parser)
    _add_retries(parser)
    _add_other_methods(parser)


def _add_speed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--immediate-checkpoint",
        dest="immediate_checkpoint",
        action="store_true",
        default=None,
        help="ask for a fast checkpoint: the backup starts at once, at the price of I/O",
    )
    parser.add_argument(
        "--no-immediate-checkpoint",
        dest="immediate_checkpoint",
        action="store_false",
        help="wait for a spread checkpoint",
    )
    parser.add_argument(
        "--bwlimit", metavar="KBPS", type=at_least(0), help="limit of the transfer in kB per second; 0: none"
    )


def _add_retries(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--retry-times", metavar="N", type=at_least(0), help="how often a failed copy is tried again")
    parser.add_argument("--no-retry", dest="retry_times", action="store_const", const=0, help="do not try again")
    parser.add_argument("--retry-sleep", metavar="SECONDS", type=at_least(0), help="pause before another try")


def _add_other_methods(parser: argparse.ArgumentParser) -> None:
    """Options of methods other than `postgres`, accepted wherever upstream accepts them."""
    parser.add_argument(
        "--reuse-backup",
        nargs="?",
        choices=("copy", "link", "off"),
        const="link",
        help="rsync methods: take unchanged files from the previous backup",
    )
    parser.add_argument("-j", "--jobs", metavar="N", type=at_least(1), help="rsync methods: number of parallel workers")
    parser.add_argument("--jobs-start-batch-size", metavar="N", type=at_least(1), help="rsync methods: workers at once")
    parser.add_argument(
        "--jobs-start-batch-period", metavar="SECONDS", type=at_least(1), help="rsync methods: pause between batches"
    )
    parser.add_argument(
        "--keepalive-interval", metavar="SECONDS", type=at_least(0), help="pause between keepalive queries; 0: none"
    )
    parser.add_argument(
        "--manifest", dest="manifest", action="store_true", default=None, help="rsync methods: write a manifest"
    )
    parser.add_argument("--no-manifest", dest="manifest", action="store_false", help="rsync methods: write none")
    parser.add_argument("--cloud-staging-directory", type=_absolute, help=argparse.SUPPRESS)
    parser.add_argument("--cloud-staging-max-size", help=argparse.SUPPRESS)


def run(args: argparse.Namespace, context: Context) -> None:
    """Back up each server; one that fails does not keep the others from it."""
    overrides = _overrides(args)

    def back_up(server: Server) -> None:
        from barman.backup.executor import refuse_unfit_parent, require_built
        from barman.backup.preparation import prepare_streaming
        from barman.backup.request import request_for
        from barman.backup.run import run_backup

        require_built(server.config, args.incremental)
        request = request_for(server.config, overrides)
        server.connect_ahead()
        for warning in _without_effect(args, server):
            context.reporter.warning(warning)
        if request.parent is not None:
            refuse_unfit_parent(server, request)
        prepare_streaming(server, context.reporter)
        if _is_fit(server, args.check_timeout, context):
            run_backup(server, request, context.reporter)

    context.each(args.server_name, back_up, inactive="skip", disabled="error", passive="skip")


def _is_fit(server: Server, check_timeout: int | None, context: Context) -> bool:
    """Run `check` silently and say which findings forbid a backup; nothing has been written then."""
    from barman.check.run import run_checks
    from barman.clock import Deadline

    deadline = None if check_timeout is None else Deadline(check_timeout or None)
    failures = run_checks(server, deadline).blocking_failures
    if not failures:
        return True
    found = "\n".join(f"\t{item.name}: FAILED" + (f" ({item.hint})" if item.hint else "") for item in failures)
    context.reporter.error(
        "Impossible to start the backup. Check the log for more details, or run "
        f"'barman check {server.name}'\nThese checks failed:\n{found}"
    )
    return False


def _without_effect(args: argparse.Namespace, server: Server) -> Iterator[str]:
    """Yield what to tell about options that change nothing."""
    if server.config.backup_method == "postgres":
        yield from _without_effect_for_postgres(args, server.name)
    if args.wait_timeout is not None and not args.wait:
        yield "--wait-timeout has no effect without --wait"


def _without_effect_for_postgres(args: argparse.Namespace, server_name: str) -> Iterator[str]:
    if args.reuse_backup not in (None, "off"):
        yield f"--reuse-backup has no effect on server {server_name}: backup_method = postgres copies everything"
    if args.manifest is False:
        yield f"--no-manifest has no effect on server {server_name}: backup_method = postgres always has a manifest"
    given = [f"--{name}" for name in _OTHER_METHODS if getattr(args, name.replace("-", "_")) is not None]
    if given:
        yield f"{', '.join(given)}: no effect on server {server_name} with backup_method = postgres"


def _overrides(args: argparse.Namespace) -> Overrides:
    from barman.backup.request import Overrides

    return Overrides(
        name=args.name,
        parent=args.incremental,
        immediate_checkpoint=args.immediate_checkpoint,
        bandwidth_limit=args.bwlimit,
        retry_times=args.retry_times,
        retry_sleep=args.retry_sleep,
        wait=args.wait,
        wait_timeout=args.wait_timeout,
        jobs=args.jobs,
        start_batch_size=args.jobs_start_batch_size,
        start_batch_period=args.jobs_start_batch_period,
        keepalive_interval=args.keepalive_interval,
        reuse=args.reuse_backup,
        manifest=args.manifest,
    )


def _name(text: str) -> str:
    from barman.catalog.backup_id import RESERVED_NAMES, is_backup_id

    if not text.strip():
        raise argparse.ArgumentTypeError("a backup name must not be empty")
    if is_backup_id(text):
        raise argparse.ArgumentTypeError(f"'{text}' looks like a backup id and cannot be a name")
    if text in RESERVED_NAMES:
        raise argparse.ArgumentTypeError(f"'{text}' is reserved and cannot be a name")
    if not text.isprintable() or text != text.strip() or text == "None":
        # It is stored as one line of backup.info, where blanks at the ends are lost and None means unset.
        raise argparse.ArgumentTypeError(f"{text!r} cannot be stored as a name")
    return text


def _absolute(text: str) -> str:
    if not os.path.isabs(text):
        raise argparse.ArgumentTypeError(f"'{text}' is not an absolute path")
    return text
