"""View of `list-processes`."""

from __future__ import annotations

from barman.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from barman.cron.processes import ProcessList


class ProcessListView:
    """A line for each process: pid and task."""

    @staticmethod
    def console(result: ProcessList, write: Callable[[str], None]) -> None:
        """Write the lines."""
        if not result.processes:
            write(f"No active subprocesses found for server {result.server_name}.")
            return
        write(f"Active subprocesses for server {result.server_name}:")
        for process in result.processes:
            write(f"{process.pid} {process.task}")

    @staticmethod
    def json(result: ProcessList) -> dict[str, Any]:
        """A list of objects under the name of the server."""
        return {result.server_name: [{"name": process.task, "pid": process.pid} for process in result.processes]}
