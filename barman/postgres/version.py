"""PostgreSQL versions and what depends on them."""

from __future__ import annotations

import re

from barman.values import dataclass

_TEXT = re.compile(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?")


@dataclass(frozen=True, slots=True, order=True)
class PgVersion:
    """A version as `server_version_num` gives it: 150018, 90624."""

    number: int

    @classmethod
    def parse_text(cls, text: str) -> PgVersion:
        """Return the version of `15.18`, `9.6.24` or `17beta1`. Raises ValueError."""
        match = _TEXT.match(text.strip())
        if match is None:
            raise ValueError(f"'{text}' is not a PostgreSQL version")
        first, second, third = (int(part or 0) for part in match.groups())
        if first >= 10:
            return cls(first * 10000 + second)
        return cls(first * 10000 + second * 100 + third)

    @property
    def major(self) -> int:
        """Return 15 for 15.18, and 9 for 9.6."""
        return self.number // 10000

    @property
    def major_text(self) -> str:
        """Return `15`, or `9.6` before version 10."""
        if self.number >= 100000:
            return str(self.number // 10000)
        return f"{self.number // 10000}.{self.number // 100 % 100}"

    @property
    def text(self) -> str:
        """Return `15.18`, or `9.6.24` before version 10."""
        if self.number >= 100000:
            return f"{self.number // 10000}.{self.number % 10000}"
        return f"{self.major_text}.{self.number % 100}"

    def __str__(self) -> str:
        return self.text

    @property
    def wal_directory(self) -> str:
        """Return the name of the WAL directory inside the data directory."""
        return "pg_wal" if self.number >= 100000 else "pg_xlog"

    @property
    def has_recovery_conf(self) -> bool:
        """Tell whether recovery settings live in recovery.conf (before 12) instead of the server configuration."""
        return self.number < 120000

    @property
    def has_backup_manifest(self) -> bool:
        """Tell whether pg_basebackup writes backup_manifest."""
        return self.number >= 130000

    @property
    def supports_incremental(self) -> bool:
        """Tell whether block-level incremental backups exist."""
        return self.number >= 170000

    @property
    def supported(self) -> bool:
        """Tell whether this program supports the server at all."""
        return self.number >= 100000
