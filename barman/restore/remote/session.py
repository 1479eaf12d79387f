"""One restore onto another host: how it is reached, what was seen there, and what there must be on this one."""

from __future__ import annotations

import os

from barman.errors import TransportError
from barman.process import find_program
from barman.restore.layouts import known_paths
from barman.restore.remote.look import look_at_places
from barman.restore.remote.transfer import Transfer, transfer_of
from barman.restore.remote.wal import room_needed
from barman.transport.host import ssh_host
from barman.typing import TYPE_CHECKING
from barman.units import format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from barman.restore.facts import BackupFacts, PlaceFacts
    from barman.restore.layouts import Layouts
    from barman.restore.request import RestoreRequest
    from barman.restore.step import WalDelivery
    from barman.server.server import Server
    from barman.transport.host import Host


class Remote:
    """Another host for the time of one restore. `machine` and `real_paths` are known after `look`."""

    def __init__(self, host: Host, transfer: Transfer, program: str | None) -> None:
        self.host = host
        self.transfer = transfer
        self.machine = host.description
        self.real_paths: tuple[str, ...] = ()
        self._program = program

    @classmethod
    def to(cls, command: str, server: Server, request: RestoreRequest) -> Remote:
        """Return the host that an ssh command leads to; nothing is connected yet. Raises TransportError."""
        program = find_program(["rsync"], server.search_path)
        host = ssh_host(command, server.environment)
        return cls(host, transfer_of(request, program or "rsync", server.environment), program)

    def look(
        self,
        request: RestoreRequest,
        layouts: Layouts,
        backup: BackupFacts,
        repository: Sequence[str],
        files: Sequence[WalDelivery],
        refusals: list[str],
    ) -> tuple[Mapping[str, PlaceFacts], str]:
        """Return what is at the places of a restore, and a hint; what speaks against it goes to `refusals`.

        The places are empty when the host cannot be asked.
        """
        refusals += self._judge_this_host(files)

        def known(path: str) -> Callable[[str], bool] | None:
            return None if request.delta else known_paths(backup, layouts, path)

        paths = (layouts.destination, *layouts.directories)
        try:
            seen = look_at_places(self.host, paths, repository, known, listed=request.delta)
        except TransportError as error:
            refusals.append(f"the destination host cannot be used: {error.message}")
            return {}, error.hint
        refusals += seen.refusals
        self.machine = seen.machine
        self.real_paths = tuple(place.real for place in seen.places.values())
        return seen.places, ""

    def _judge_this_host(self, files: Sequence[WalDelivery]) -> list[str]:
        refusals = []
        if self._program is None:
            refusals.append("rsync is not installed on this host: install it, or set path_prefix")
        staging = self.transfer.staging
        if not files:
            return refusals
        if not os.path.isdir(staging) or not os.access(staging, os.W_OK | os.X_OK):
            refusals.append(f"the staging path '{staging}' is not a directory that can be written to")
            return refusals
        facts = os.statvfs(staging)
        free, needed = facts.f_bavail * facts.f_frsize, room_needed(files, self.transfer.options.workers)
        if needed > free:
            refusals.append(
                f"not enough space in the staging path '{staging}': up to {format_size(needed)} needed for WAL, "
                f"{format_size(free)} free"
            )
        return refusals
