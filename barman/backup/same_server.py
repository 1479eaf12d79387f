"""rsync copies from one host, the session may be on another: both must be the same server.

A connection string with several hosts leads wherever a server fits; so does a virtual address after a failover. What
is copied from a standby that lags behind the server that was told to begin is no backup of either.
"""

from __future__ import annotations

import os
from datetime import datetime

from barman.errors import BackupError, BarmanError
from barman.logs import Log
from barman.timestamps import format_ctime
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barman.postgres.connection import PostgresConnection
    from barman.postgres.facts import ServerFacts
    from barman.transport.host import Host

_LOG = Log(__name__)
# The file is written first, the server's own start time is taken when its memory is set up.
_START_SECONDS = 60
_SQL = "SELECT extract(epoch FROM pg_postmaster_start_time())::bigint, current_setting('port')::int"


def require_same_server(connection: PostgresConnection, host: Host, facts: ServerFacts) -> None:
    """Compare `postmaster.pid` on the host with what the server says of itself. Raises BackupError when they differ.

    Nothing is judged where the file cannot be read: the copy itself fails then, or there is no such file to compare.
    """
    if facts.data_directory is None:
        return
    path = os.path.join(facts.data_directory, "postmaster.pid")
    try:
        done = host.runner.run(["head", "-n", "4", "--", path], check=False, doing="looking at the running server")
    except BarmanError as error:
        _LOG.debug("cannot read %s: %s", path, error)
        return
    # Process, data directory, start time, port.
    lines = [line.strip() for line in done.stdout.decode(errors="replace").splitlines()]
    if done.returncode != 0 or len(lines) < 4 or not (lines[2].isdigit() and lines[3].isdigit()):
        return
    started, port = (int(number) for number in connection.query(_SQL)[0])
    if int(lines[3]) == port and abs(int(lines[2]) - started) <= _START_SECONDS:
        return
    raise BackupError(
        f"the server in conninfo ({connection.target}) is not the one that runs in '{facts.data_directory}' on "
        f"{host.description}: one has port {port} and was started at {_moment(started)}, the other has port {lines[3]} "
        f"and was started at {_moment(int(lines[2]))}",
        hint="rsync copies from the host of ssh_command: let conninfo lead to that host alone.",
    )


def _moment(epoch: int) -> str:
    return format_ctime(datetime.fromtimestamp(epoch).astimezone())
