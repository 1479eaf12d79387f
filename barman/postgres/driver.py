"""psycopg2, imported without the `ssl` module of Python, which it would load only to leave it alone.

The extension imports `ssl` so that libpq does not set up OpenSSL a second time; since OpenSSL 1.1 both find it set up
by itself. The import costs a third of psycopg2's own. TLS connections are libpq's work and do not miss it.
"""

from __future__ import annotations

import sys

from barman.typing import TYPE_CHECKING, Any

__all__ = ["extensions", "psycopg2"]

if TYPE_CHECKING or "ssl" in sys.modules or "psycopg2" in sys.modules:
    import psycopg2
    from psycopg2 import extensions
else:
    _modules: dict[str, Any] = sys.modules
    _modules["ssl"] = None  # the import system reads it as "there is no such module"
    try:
        import psycopg2
        from psycopg2 import extensions
    finally:
        if _modules.get("ssl") is None:
            del _modules["ssl"]
