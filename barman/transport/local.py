"""Commands on this host."""

from __future__ import annotations

from barman import process
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from barman.clock import Deadline


class LocalRunner:
    """Runs commands here, as the user of this process; see CommandRunner for the contract."""

    description = "this host"

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = environment

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        deadline: Deadline | None = None,
        check: bool = True,
        doing: str = "",  # part of the contract: here the program's own words say enough
    ) -> process.Completed:
        """Run a command; see CommandRunner.run."""
        return process.run(argv, env=self._environment, stdin=stdin, deadline=deadline, check=check)

    def close(self) -> None:
        """Nothing is held."""
