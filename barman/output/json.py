"""The JSON writer: one document, written once at the end, keys sorted, passwords redacted."""

from __future__ import annotations

import sys

from barman.logs import redact
from barman.output.registry import view_of
from barman.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from barman.report import Progress


class JsonReporter:
    """Collects results under their own keys and messages in `_INFO`, `_WARNING`, `_ERROR`, `_EXCEPTION`, `_DEBUG`."""

    def __init__(self, log: Callable[[str, str], None], *, quiet: bool = False, debug: bool = False) -> None:
        self.failed = False
        self.document: dict[str, Any] = {}
        self._log = log
        self._quiet = quiet
        self._debug = debug
        self._output_is_taken = False

    def debug(self, message: str) -> None:
        """Log a detail; keep it with --debug."""
        self._log("debug", message)
        if self._debug:
            self._add("_DEBUG", message)

    def info(self, message: str) -> None:
        """Keep and log a line."""
        self._log("info", message)
        self._add("_INFO", message)

    def warning(self, message: str) -> None:
        """Keep and log a warning."""
        self._log("warning", message)
        self._add("_WARNING", message)

    def error(self, message: str) -> None:
        """Keep and log an error."""
        self.failed = True
        self._log("error", message)
        self._add("_ERROR", message)

    def exception(self, message: str) -> None:
        """Keep an unexpected failure."""
        self.failed = True
        self._add("_EXCEPTION", message)

    def hint(self, message: str) -> None:
        """Keep what the user can do about an error."""
        self._add("_HINT", message)

    def listing(self, line: str) -> None:
        """Keep a line of data."""
        self._add("_INFO", line)

    def emit(self, result: object) -> None:
        """Merge a result into the document; results of several servers lie side by side."""
        _merge(self.document, view_of(result).json(result))

    def progress(self, progress: Progress) -> None:
        """Say nothing: the document is for programs."""

    def leave_output(self) -> None:
        """Leave standard output to a command that writes a document of its own; messages go to standard error."""
        self._output_is_taken = True

    def close(self) -> None:
        """Write the document."""
        if self._quiet or (self._output_is_taken and not self.document):
            return
        from json import dumps

        stream = sys.stderr if self._output_is_taken else sys.stdout
        stream.write(dumps(_redacted(self.document), sort_keys=True, default=str))
        stream.flush()

    def _add(self, key: str, message: str) -> None:
        self.document.setdefault(key, []).append(message)


def _merge(document: dict[str, Any], part: dict[str, Any]) -> None:
    for key, value in part.items():
        present = document.get(key)
        if isinstance(present, list) and isinstance(value, list) and key.startswith("_"):
            present.extend(value)
        elif isinstance(present, dict) and isinstance(value, dict):
            present.update(value)
        else:
            document[key] = value


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return redact(str(value))
    if isinstance(value, dict):
        return {str(key): _redacted(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(item) for item in value]
    return value
