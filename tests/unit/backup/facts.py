"""Facts of a server that was never asked."""

from datetime import datetime, timezone
from typing import Any

from barman.postgres.facts import Position, Privileges, ServerFacts
from barman.postgres.version import PgVersion
from barman.values import replace
from tests.support.catalog_builder import SYSTEM_ID

_FACTS = ServerFacts(
    version=PgVersion(170005),
    server_txt_version="17.5",
    in_recovery=False,
    position=Position(None, None, None, datetime(2026, 1, 1, tzinfo=timezone.utc)),
    privileges=Privileges(True, True, True, True),
    system_id=SYSTEM_ID,
    timeline=1,
    segment_size=16 * 1024 * 1024,
    settings={"data_directory": "/pgdata"},
    raw_settings={},
    tablespaces=(),
    included_files=(),
    slot=None,
    archiver=None,
    current_size=None,
    streaming=None,
)


def make_facts(**changes: Any) -> ServerFacts:
    """A primary of PostgreSQL 17 with nothing special, with changes."""
    return replace(_FACTS, **changes)
