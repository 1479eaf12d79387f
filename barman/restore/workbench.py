"""What the performers of steps share: who listens, and what they found out for the result."""

from __future__ import annotations

from barman.clock import monotonic
from barman.report import Progress
from barman.typing import TYPE_CHECKING
from barman.values import dataclass, field

if TYPE_CHECKING:
    from barman.compression.codec import CustomFilters
    from barman.report import Reporter
    from barman.restore.remote.transfer import Transfer
    from barman.restore.result import SettingNote
    from barman.transport.host import Host


@dataclass(slots=True)
class Workbench:
    """The one mutable thing of a restore."""

    reporter: Reporter
    host: Host | None = None
    """The host that is restored to; None for this one."""
    transfer: Transfer | None = None
    marker: str = ""
    """What this run has written into the marker on the other host."""
    custom: CustomFilters | None = None
    changes: list[SettingNote] = field(default_factory=list)
    warnings: list[SettingNote] = field(default_factory=list)
    missing_files: list[str] = field(default_factory=list)

    @property
    def remote(self) -> tuple[Host, Transfer]:
        """Return the other host and the way there."""
        assert self.host is not None
        assert self.transfer is not None
        return self.host, self.transfer

    def meter(self, label: str, total: int | None, unit: str = "bytes") -> Meter:
        """Return a progress meter."""
        return Meter(self.reporter, label, total, unit)


class Meter:
    """Counts what is done and shows it."""

    def __init__(self, reporter: Reporter, label: str, total: int | None, unit: str) -> None:
        self._reporter = reporter
        self._label = label
        self._total = total
        self._unit = unit
        self._done = 0
        self._started_at = monotonic()

    def add(self, count: int) -> None:
        """Count more as done."""
        self._done += count
        self._reporter.progress(
            Progress(self._label, self._done, self._total, unit=self._unit, started_at=self._started_at)
        )
