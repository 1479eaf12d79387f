"""View of `diagnose` (cli reference, section 4): always one JSON document."""

from __future__ import annotations

import json

from barman.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from barman.status.diagnose import Diagnosis


class DiagnosisView:
    """The document itself, whatever format was asked for."""

    @staticmethod
    def console(result: Diagnosis, write: Callable[[str], None]) -> None:
        """Write the document."""
        write(_text(result))

    @staticmethod
    def json(result: Diagnosis) -> dict[str, Any]:
        """The document as one message."""
        return {"_INFO": [_text(result)]}


def _text(result: Diagnosis) -> str:
    return json.dumps(_redacted(result.document), indent=4, sort_keys=True, default=str)


def _redacted(value: Any) -> Any:
    """Redact each text by itself: inside the document quotes would stand in the way."""
    from barman.logs import redact

    if isinstance(value, str):
        return redact(str(value))
    if isinstance(value, dict):
        return {str(key): _redacted(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redacted(item) for item in value]
    return value
