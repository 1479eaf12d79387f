"""Ask the primary Barman what it has: `sync-info` over its ssh command, with what can go wrong on the way."""

from __future__ import annotations

import os

from barman import clock
from barman.clock import Deadline
from barman.errors import FileMissing, SyncError, TransportError, Unreachable
from barman.logs import Log, redact
from barman.process import describe_status, last_line
from barman.sync.plan import covered_backups
from barman.sync.protocol import find_document, parse
from barman.sync.state import CONTACT, note_facts, note_success, read_record, save_primary
from barman.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from barman.process import Completed
    from barman.server.server import Server
    from barman.sync.protocol import SyncInfo
    from barman.sync.state import SyncPosition, Warner

_LOG = Log(__name__)
ANSWER_SECONDS: Final = 300.0
"""More than the original needs for a million files."""
FULL_SECONDS: Final = 3600.0
"""The original does not tell of files that came late: it is asked for all of them this often."""
OWN_FULL_SECONDS: Final = 86400.0
"""Ours does; what was lost here, or was never true, comes back all the same."""
_OWN_VERSION: Final = "3.100."
_MAX_NOTE: Final = 65536
_REFUSED: Final = (1, 2)
"""Statuses by which a primary rejects a position: its rules, or (the original, D11) a position of 0."""
_NOT_FOUND: Final = 127
_NOT_RESUMED: Final = b'"resumed": false\n}'


def ask(
    server: Server, position: SyncPosition | None = None, reporter: Warner | None = None, *, exactly: bool = False
) -> bytes:
    """The answer of the primary, cut to the document. With a position only what came since, where that is enough.

    It is not enough, and all is asked for, when a backup is here for which no WAL was copied yet, when the last
    complete answer is too old, and when the primary cannot go on exactly behind the position. A position that the
    primary rejects is given up, and that is told. With `exactly` the question is not changed, nor repeated.

    Raises SyncError, Unreachable and others of TransportError, which say what to do.
    """
    if exactly:
        return _document(server, _run(server, position))
    if position is not None and not _wants_all(server):
        done = _run(server, position)
        if done.returncode in _REFUSED:
            text = (
                "sync-info is out of sync. Self-recovery procedure started: requesting full synchronisation from "
                f"primary server {server.name}"
            )
            _LOG.warning("%s (%s)", text, redact(last_line(done.error_text)))
            if reporter is not None:
                reporter.warning(text)
        else:
            document = _document(server, done)
            if not document.rstrip().endswith(_NOT_RESUMED):
                return document
            _LOG.info("the index of the primary of server %s was rewritten: asking for all of it", server.name)
    document = _document(server, _run(server, None))
    note_facts(server.catalog.layout, CONTACT, full_at=clock.timestamp())
    return document


def ask_and_remember(
    server: Server, position: SyncPosition | None = None, reporter: Warner | None = None, *, exactly: bool = False
) -> bytes:
    """As `ask`; the answer is read, so that it is known to be one, and saved as `primary.info` before it is returned.

    Missing directories of the server are created. Raises SyncError, TransportError, CatalogError, OSError.
    """
    document = ask(server, position, reporter, exactly=exactly)
    info = parse(document, server.name)
    require_other(server, info)
    server.catalog.ensure_directories()
    save_primary(server.catalog.layout, document)
    note_success(server.catalog.layout, CONTACT, primary_version=info.version)
    return document


def require_other(server: Server, info: SyncInfo) -> None:
    """Raise SyncError when what answered is this very node.

    Two hosts may well have the same paths, and the same `primary_ssh_command`, which may lead to different hosts: a
    note in one of our files tells whether it is one directory.
    """
    layout = server.catalog.layout
    own = server.config.primary_ssh_command
    hint = "On the node that backs up PostgreSQL primary_ssh_command must not be set for this server."
    if info.backup_directory != layout.backup_directory or read_record(layout).other == own:
        return
    note_facts(layout, CONTACT, note=os.urandom(16).hex())
    path = layout.sync_state(CONTACT)
    try:
        with open(path, "rb") as file:
            here = file.read(_MAX_NOTE)
        there = server.primary_host.files.read(path, _MAX_NOTE)
    except FileMissing:
        there = b""
    except (TransportError, OSError):
        return
    if here == there:
        raise SyncError(
            f"the primary of server {server.name} is this node itself: both have '{layout.backup_directory}'",
            hint=hint,
        )
    note_facts(layout, CONTACT, other=own)


def _wants_all(server: Server) -> bool:
    record = read_record(server.catalog.layout)
    patience = OWN_FULL_SECONDS if record.primary_version.startswith(_OWN_VERSION) else FULL_SECONDS
    if record.full_at is None or not 0 <= clock.timestamp() - record.full_at < patience:
        return True
    return not covered_backups(server.catalog.snapshot()) <= record.covered


def _command(server: Server, position: SyncPosition | None) -> list[str]:
    words = ["barman"]
    if server.config.forward_config_path:
        words += ["-c", server.config.main_file]
    words += ["sync-info", server.name]
    if position is not None:
        words.append(position.name)
        if position.position > 0:
            words.append(str(position.position))
    return words


def _run(server: Server, position: SyncPosition | None) -> Completed:
    deadline = Deadline(ANSWER_SECONDS)
    doing = f"asking for the state of server {server.name}"
    try:
        return server.primary_host.runner.run(_command(server, position), deadline=deadline, check=False, doing=doing)
    except Unreachable as error:
        raise Unreachable(
            f"Failed to retrieve the primary node status: {error.message}",
            hint=error.hint,
            reason=error.reason,
            returncode=error.returncode,
        ) from error
    except TransportError as error:
        raise SyncError(f"Failed to retrieve the primary node status: {error.message}", hint=error.hint) from error


def _document(server: Server, done: Completed) -> bytes:
    if done.returncode:
        said = done.error_text
        reason = redact(last_line(said)) if said.strip() else describe_status(done.returncode)
        hint = f"Run '{server.config.primary_ssh_command} barman sync-info {server.name}' as this user."
        if done.returncode == _NOT_FOUND:
            hint = "Install barman on the primary where the PATH of a non-interactive ssh command finds it."
        raise SyncError(
            "Failed to retrieve the primary node status: sync-info execution on remote primary server "
            f"{server.name} failed: {reason}",
            hint=hint,
        )
    try:
        return find_document(done.stdout)
    except SyncError as error:
        raise SyncError(
            f"Failed to retrieve the primary node status: {error.message}",
            hint=f"Run '{server.config.primary_ssh_command} barman sync-info {server.name}' as this user.",
        ) from error
