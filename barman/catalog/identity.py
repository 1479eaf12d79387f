"""`identity.json`: which cluster this repository belongs to."""

import json

from barman.catalog.layout import Layout
from barman.errors import CatalogError, CorruptRecord
from barman.fs import durable
from barman.typing import Any, Final
from barman.values import dataclass

_MAX_SIZE: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Identity:
    """System identifier (decimal) and major version (`15`, `9.6`) of the cluster."""

    systemid: str
    version: str


class IdentityStore:
    """Reads and writes the identity. Who finds another cluster than the recorded one must refuse, never overwrite."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def read(self) -> Identity | None:
        """The recorded identity, None before the first backup. Raises CorruptRecord for a file that does not say it."""
        path = self._layout.identity
        try:
            with open(path, "rb") as file:
                data = file.read(_MAX_SIZE)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CatalogError(f"cannot read '{path}': {error.strerror}") from error
        try:
            content: Any = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise CorruptRecord(f"{path}: not JSON", hint=_HINT) from error
        if not isinstance(content, dict):
            raise CorruptRecord(f"{path}: not a JSON object", hint=_HINT)
        systemid, version = content.get("systemid"), content.get("version")
        if systemid is None:
            return None
        if not (isinstance(systemid, str) and systemid.isdecimal()):
            raise CorruptRecord(f"{path}: 'systemid' is not a system identifier: {systemid!r:.60}", hint=_HINT)
        return Identity(systemid, version if isinstance(version, str) else "")

    def write(self, identity: Identity) -> None:
        """Record the identity, durably, in place of any other."""
        content = {"systemid": identity.systemid, "version": identity.version}
        durable.make_directory(self._layout.backup_directory)
        durable.write_atomic(self._layout.identity, json.dumps(content, indent=4, sort_keys=True) + "\n")

    def ensure(self, identity: Identity) -> None:
        """Record the identity unless there is one. Raises CatalogError when the recorded cluster is another."""
        recorded = self.read()
        if recorded is None:
            self.write(identity)
        elif recorded.systemid != identity.systemid:
            raise CatalogError(
                f"system identifier of the server is {identity.systemid}, but '{self._layout.identity}' says "
                f"{recorded.systemid}: this is another cluster",
                hint="back up another cluster under another server name, or move the old repository away",
            )
        elif recorded.version != identity.version:
            self.write(identity)


_HINT: Final = "move the file away if it is damaged: the next backup writes it anew from the live server"
