"""Every exception family; the class decides the exit code, the command line prints message and hint.

Messages are lower case without a final stop and name the object and the value; hints are sentences an operator can
act on.
"""

from __future__ import annotations

from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class BarmanError(Exception):
    """Anything that ends a command with a message instead of a traceback."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(BarmanError):
    """The command line asks for something that makes no sense."""

    exit_code = 2


class ConfigError(BarmanError):
    """The configuration cannot be used; `bare` messages are shown without the word ERROR, as scripts expect them."""

    def __init__(self, message: str, *, hint: str = "", bare: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.bare = bare


class CatalogError(BarmanError):
    """The on-disk state of one server is not what it should be."""


class UnknownBackup(CatalogError):
    """No backup answers to the given id, name or shortcut."""


class CorruptRecord(CatalogError):
    """A file of the catalog cannot be understood; names the file and, where known, the line."""


class PostgresError(BarmanError):
    """PostgreSQL refused or failed."""


class CannotConnect(PostgresError):
    """No connection to PostgreSQL."""


class MissingPrivilege(PostgresError):
    """The role lacks a privilege that the operation needs."""


class NotSupportedByServer(PostgresError):
    """The server or the client programs are too old for the operation."""


class TransportError(BarmanError):
    """Something on the way to another program or host failed."""


class CommandFailed(TransportError):
    """A program ended with a status other than the expected ones."""

    def __init__(self, message: str, *, hint: str = "", returncode: int = 0, stderr: str = "") -> None:
        super().__init__(message, hint=hint)
        self.returncode = returncode
        self.stderr = stderr


class Unreachable(TransportError):
    """A host cannot be reached; `reason` is the last word of what tried, `returncode` its status where it had one."""

    def __init__(self, message: str, *, hint: str = "", reason: str = "", returncode: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason or message
        self.returncode = returncode


class DeadlineExceeded(TransportError):
    """The time allowed for an operation is over."""


class FileFailed(TransportError):
    """A file or directory on some host cannot be read or changed; names path, host and reason."""


class FileMissing(FileFailed):
    """The file or directory does not exist."""


class LockBusy(BarmanError):
    """Another process holds the lock; `holder` is its pid, None when it cannot be told."""

    def __init__(self, path: str, holder: int | None) -> None:
        who = f"process {holder}" if holder else "another process"
        super().__init__(f"lock file '{path}' is held by {who}")
        self.path = path
        self.holder = holder


class WalError(BarmanError):
    """A WAL file cannot be handled."""


class InvalidWalName(WalError):
    """The text is not the name of a WAL file."""

    exit_code = 3

    def __init__(self, name: str) -> None:
        super().__init__(f"'{name}' is not a valid wal file name")
        self.name = name


class WalNotFound(WalError):
    """The archive has no such file."""


class BackupError(BarmanError):
    """A backup cannot be taken, completed or deleted."""


class RestoreRefused(BarmanError):
    """A restore that cannot succeed; `reasons` holds all of them."""

    def __init__(self, reasons: Sequence[str], *, hint: str = "") -> None:
        super().__init__("\n".join(reasons), hint=hint)
        self.reasons = tuple(reasons)


class HookAborted(BarmanError):
    """A retry hook script asked to abort the operation."""


class SyncError(BarmanError):
    """A passive node cannot follow its primary."""


def describe_refusal(error: OSError) -> str:
    """What the operating system has refused, and where, in one line."""
    place = f" '{error.filename}'" if error.filename else ""
    second = f" -> '{error.filename2}'" if error.filename2 else ""
    return f"the operating system refused an operation on{place}{second}: {error.strerror or error}"


class Interrupted(BaseException):
    """SIGINT or SIGTERM arrived: clean up and leave. Not an Exception, so that nothing swallows it."""

    def __init__(self, signal_name: str) -> None:
        super().__init__(signal_name)
        self.signal_name = signal_name
