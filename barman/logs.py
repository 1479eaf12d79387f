"""The log file, its format, and what must never be written to it."""

from __future__ import annotations

import re

from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

DEFAULT_FORMAT = "%(asctime)s [%(process)s] %(name)s %(levelname)s: %(message)s"
LEVELS = ("NOTSET", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_LEVEL_NUMBERS = {"NOTSET": 0, "DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
_REDACTED = "*REDACTED*"
_PASSWORD = re.compile(r"""(password\s*=\s*)('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|['"].*|[^\s'"]+)""", re.IGNORECASE)
_URI_PASSWORD = re.compile(r"(postgres(?:ql)?://[^\s:/@]*:)([^\s@/]+)(@)", re.IGNORECASE)


class Log:
    """The log of one module under its name. `logging` is imported and the file opened by the first message.

    Most runs of a short command have nothing to log, and both cost more than its work.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def _logger(self) -> logging.Logger:
        import logging

        if _opener is not None:
            _opener()
        return logging.getLogger(self._name)

    def debug(self, text: str, *args: object) -> None:
        """Log a detail, which is looked at when the level of the log is DEBUG."""
        self._logger().debug(text, *args)

    def info(self, text: str, *args: object) -> None:
        """Log what was done."""
        self._logger().info(text, *args)

    def warning(self, text: str, *args: object) -> None:
        """Log what may need attention."""
        self._logger().warning(text, *args)

    def error(self, text: str, *args: object) -> None:
        """Log a failure."""
        self._logger().error(text, *args)

    def exception(self, text: str, *args: object) -> None:
        """Log a failure together with the exception that is being handled."""
        self._logger().exception(text, *args)


_opener: Callable[[], None] | None = None


def open_with(opener: Callable[[], None]) -> None:
    """Let the first message of any `Log` call `opener`, which sets the log file up; it may be called again."""
    global _opener  # noqa: PLW0603  the log of a process is one
    _opener = opener


class Secret(str):
    """A text that prints redacted; `.reveal()` gives the real one."""

    __slots__ = ()

    def __str__(self) -> str:
        return _REDACTED

    def __repr__(self) -> str:
        return f"Secret('{_REDACTED}')"

    def __format__(self, spec: str) -> str:
        return format(_REDACTED, spec)

    def reveal(self) -> str:
        """Return the text itself."""
        return str.__str__(self)


def redact(text: str) -> str:
    """Return the text with the passwords of connection strings replaced."""
    if "password" not in text and "://" not in text and "PASSWORD" not in text.upper():
        return text
    text = _PASSWORD.sub(lambda match: match.group(1) + _REDACTED, text)
    return _URI_PASSWORD.sub(lambda match: match.group(1) + _REDACTED + match.group(3), text)


def level_number(level: str | int | None) -> int | None:
    """Return the number of a level given by name (any case) or number, None when it is unknown."""
    if isinstance(level, int):
        return level
    if not level:
        return None
    name = level.strip().upper()
    if name in _LEVEL_NUMBERS:
        return _LEVEL_NUMBERS[name]
    try:
        return int(name)
    except ValueError:
        return None


def setup_logging(file: str | None, level: str | int | None, fmt: str | None = None) -> str | None:
    """Send log records to `file` (stderr when None); return a warning text when the file cannot be opened.

    The file is reopened when it was rotated away. Its parent directory is created.
    """
    import logging
    import os

    warning = None
    handler: logging.Handler = logging.StreamHandler()
    if file:
        path = os.path.abspath(file)
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            handler = _file_handler(path)
        except OSError as error:
            warning = f"failed opening the requested log file '{file}': {error.strerror}; using standard error instead"
    try:
        handler.setFormatter(_formatter(fmt or DEFAULT_FORMAT))
    except ValueError as error:
        warning = f"invalid log_format '{fmt}': {error}"
        handler.setFormatter(_formatter(DEFAULT_FORMAT))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    number = level_number(level)
    root.setLevel(logging.INFO if number is None else number)
    logging.raiseExceptions = False
    logging.getLogger("paramiko").setLevel(logging.WARNING)
    return warning


def _file_handler(path: str) -> logging.Handler:
    """Return a handler that reopens its file when it was rotated; logging.handlers costs more to import."""
    import logging
    import os

    class RotatedFileHandler(logging.FileHandler):
        def emit(self, record: logging.LogRecord) -> None:
            try:
                current = os.stat(self.baseFilename)
                mine = os.fstat(self.stream.fileno()) if self.stream else None
                rotated = mine is None or (current.st_dev, current.st_ino) != (mine.st_dev, mine.st_ino)
            except (OSError, ValueError):
                rotated = True
            if rotated:
                self.close()
                try:
                    self.stream = self._open()
                except OSError:
                    # Its directory is gone, or the disk: no reason to stop what is being done.
                    self.handleError(record)
                    return
            super().emit(record)

    return RotatedFileHandler(path, encoding="utf-8")


def _formatter(fmt: str) -> logging.Formatter:
    import logging

    class RedactingFormatter(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return redact(super().format(record))

    return RedactingFormatter(fmt)
