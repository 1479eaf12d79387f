"""`barman-wal-restore`: get a WAL file from a Barman host, for `restore_command`.

Exit code 1 is said only by a healthy archive that was reached: it has no such file and none after it. Everything else
must not make PostgreSQL end its recovery: it is tried again for a while, and then ends with a code that stops a server
in archive recovery instead of promoting it (see `recovery`).
"""

from __future__ import annotations

import argparse
import os
import sys

from barman.clients.recovery import ARCHIVE_RECOVERY, Asker
from barman.clients.ssh import (
    ClientError,
    Remote,
    add_common_arguments,
    complain,
    count,
    quote_always,
    relay,
    test_connection,
)
from barman.errors import BarmanError
from barman.help import Formatter
from barman.typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from barman.clients.fetching import Fetcher, Outcome
    from barman.clients.spool import Spool

DEFAULT_SPOOL = "/var/tmp/walrestore"
_RETRY_SECONDS = 300
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 15.0
_CANNOT_WRITE = 3


def main() -> NoReturn:
    """Run the client and leave the process with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(argv: Sequence[str]) -> int:
    """Run the client; see the reference of exit codes. No failure of ours looks like the end of the archive."""
    asker = Asker()
    try:
        options = argument_parser().parse_args(argv)
        if not options.test:
            asker = Asker(options.wal_dest)
        return _Restore(options, asker).run()
    except SystemExit as end:
        if not end.code:
            raise
        return asker.exit_code(2)
    except ClientError as error:
        complain(error.message)
        return asker.exit_code(error.status)
    except BarmanError as error:
        complain(f"Error executing ssh: {error.message}")
    except OSError as error:
        complain(f"{error.strerror}: '{error.filename}'" if error.filename else str(error))
    except KeyboardInterrupt:
        complain("SIGINT received! Terminating.")
    except Exception as error:  # noqa: BLE001  # a traceback exits with 1, which would promote the server
        complain(f"{type(error).__name__}: {error}")
    return asker.exit_code(2)


def argument_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="barman-wal-restore",
        formatter_class=Formatter,
        description="Get a WAL file from a Barman host. For restore_command in postgresql.conf.",
    )
    add_common_arguments(parser, "barman-wal-restore")
    parser.add_argument(
        *("-s", "--sleep"), metavar="SECONDS", type=count, default=0, help="pause before a failed fetch ends"
    )
    parser.add_argument(
        *("-p", "--parallel"),
        metavar="JOBS",
        type=count,
        default=0,
        help="fetch so many following segments ahead, in the background (default: 0)",
    )
    parser.add_argument(
        "--spool-dir", metavar="DIR", default=DEFAULT_SPOOL, help="where they are kept (default: %(default)s)"
    )
    parser.add_argument("-P", "--partial", action="store_true", help="take an unfinished segment if there is no other")
    parser.add_argument(
        "--retry-timeout",
        metavar="SECONDS",
        type=count,
        default=_RETRY_SECONDS,
        help="how long archive recovery waits for an archive that cannot be reached or is unhealthy, before the server "
        "is stopped; a standby asks again by itself (default: %(default)s)",
    )
    transfer = parser.add_mutually_exclusive_group()
    transfer.add_argument("-z", "--gzip", dest="words", action="store_const", const="--gzip", help="deprecated")
    transfer.add_argument("-j", "--bzip2", dest="words", action="store_const", const="--bzip2", help="deprecated")
    transfer.add_argument(
        *("--keep-compression",),
        dest="words",
        action="store_const",
        const="--keep-compression",
        help="have it sent as it is stored",
    )
    parser.add_argument("barman_host", metavar="BARMAN_HOST", help="the host of the Barman server")
    parser.add_argument("server_name", metavar="SERVER_NAME", help="the server's name in the configuration of Barman")
    parser.add_argument("wal_name", metavar="WAL_NAME", help="the name of the WAL file: %%f in restore_command")
    parser.add_argument("wal_dest", metavar="WAL_DEST", help="where to write it: %%p in restore_command")
    return parser


class _Restore:
    """One call."""

    def __init__(self, options: argparse.Namespace, asker: Asker) -> None:
        self._options = options
        self._asker = asker
        self._remote = Remote.from_options(options)

    def run(self) -> int:
        options = self._options
        if options.test:
            server = quote_always(self._remote.server)
            return test_connection(self._remote, self._remote.barman("get-wal", "--test", server, "'dummy_wal_name'"))
        if options.words in ("--gzip", "--bzip2"):
            print(f"WARNING: {options.words} is deprecated: use --keep-compression, or the compression of ssh")
        self._check_destination()
        if not self._take_spooled():
            code = self._fetch()
            if code:
                return code
        if options.parallel:
            self._advance()
        return 0

    def _check_destination(self) -> None:
        from barman.fs.spool import sweep_drafts

        directory, name = os.path.split(os.path.abspath(self._options.wal_dest))
        if os.path.isdir(self._options.wal_dest):
            raise ClientError(f"WAL_DEST cannot be a directory: {self._options.wal_dest}", _CANNOT_WRITE)
        if not os.access(directory, os.W_OK | os.X_OK):
            raise ClientError(f"Cannot open '{self._options.wal_dest}' (WAL_DEST) for writing", _CANNOT_WRITE)
        sweep_drafts(directory, name)

    # -- fetching

    def _fetcher(self, *, partial: bool) -> Fetcher:
        from barman.clients.fetching import Fetcher

        words = [self._options.words] if self._options.words else []
        if partial:
            words.append("--partial")
        return Fetcher(self._remote, words, self._asker.system_id())

    def _fetch(self) -> int:
        """Fetch the file, as often as it makes sense; the exit code."""
        from barman.clock import Deadline

        budget = self._options.retry_timeout if self._asker.mode == ARCHIVE_RECOVERY else 0
        deadline, pause = Deadline(budget), _FIRST_PAUSE
        while True:
            outcome = self._attempt()
            if outcome.status == 0:
                return 0
            left = deadline.remaining() or 0.0
            if outcome.is_final or left <= 0:
                return self._give_up(outcome)
            complain(
                f"cannot get WAL file '{self._options.wal_name}' now: {outcome.reason}; trying for {left:.0f} s more"
            )
            deadline.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _attempt(self) -> Outcome:
        """Fetch the file once; with those after it, if they are wanted and the Barman host can send them along."""
        from barman.clients.fetching import FAILED, MISSING, OK
        from barman.clients.segment import is_plain_segment

        options = self._options
        if options.parallel and is_plain_segment(options.wal_name) and options.words in (None, "--keep-compression"):
            outcome = self._attempt_with_following()
            if outcome.kind == OK and self._take_spooled():
                return outcome
            if outcome.kind == FAILED or (outcome.kind == MISSING and not options.partial):
                return outcome
        return self._fetcher(partial=options.partial).fetch(options.wal_name, options.wal_dest)

    def _attempt_with_following(self) -> Outcome:
        from barman.clients.ahead import UNSUPPORTED, Ahead
        from barman.clients.fetching import Outcome

        spool = self._spool()
        try:
            spool.prepare()
            if spool.is_unsupported():
                return Outcome(UNSUPPORTED)
            return Ahead(spool, self._fetcher(partial=False), self._options.parallel).fetch(self._options.wal_name)
        except (OSError, BarmanError):
            return Outcome(UNSUPPORTED)  # what is wrong with the spool is told when this file is there

    def _give_up(self, outcome: Outcome) -> int:
        from barman.clients.fetching import MISSING

        if outcome.kind == MISSING:
            code = 1
            relay(outcome.reason)
        else:
            code = self._asker.exit_code(outcome.status)
            complain(f"cannot get WAL file '{self._options.wal_name}': {outcome.reason}")
            if self._asker.mode == ARCHIVE_RECOVERY:
                relay("The recovery is not at its end: the server stops and can be started again to go on.")
        self._sleep()
        return code

    def _sleep(self) -> None:
        from barman.clock import sleep

        if self._options.sleep:
            relay(f"Sleeping for {self._options.sleep} seconds.")
            sleep(self._options.sleep)

    # -- the spool

    def _take_spooled(self) -> bool:
        if not os.path.isdir(self._options.spool_dir):
            return False
        options = self._options
        return self._spool().take(options.wal_name, options.wal_dest, options.parallel)

    def _spool(self) -> Spool:
        from barman.clients.spool import Spool

        return Spool.for_destination(
            self._options.spool_dir, self._remote, self._options.wal_dest, self._asker.system_id()
        )

    def _advance(self) -> None:
        """Have the next segments fetched. That it fails is no failure of this call: this file is there."""
        from barman.clients.segment import is_plain_segment

        name, ahead = self._options.wal_name, self._options.parallel
        if not is_plain_segment(name):
            return
        try:
            size = os.stat(self._options.wal_dest).st_size
            spool = self._spool()
            spool.prepare()
            spool.note(name, size, ahead)
            if spool.is_running_low(name, size, ahead):
                from barman.clients.ahead import Ahead

                # Unfinished segments are not for the spool: they grow.
                Ahead(spool, self._fetcher(partial=False), ahead).start(spool.missing()[0])
        except (OSError, BarmanError) as error:
            relay(f"WARNING: cannot fetch WAL ahead: {error}")


if __name__ == "__main__":
    main()
