"""What the backup method needs: SSH and PGDATA for rsync, pg_basebackup for postgres."""

from __future__ import annotations

import os

from barman.check.check import Outcome, check, failed, on_active_nodes, passed
from barman.check.checks.archiving import compatible
from barman.compression.codec import CodecError
from barman.errors import BackupError, DeadlineExceeded, TransportError, Unreachable
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from barman.check.context import CheckContext
    from barman.config.server_config import ServerConfig
    from barman.postgres.programs import Program
    from barman.process import Completed

_EXCLUSIVE = "exclusive_backup"
_SHOWN = 60
"""How much of what a shell says is repeated in a line."""


def _method(*names: str) -> Callable[[ServerConfig], bool]:
    def applies(config: ServerConfig) -> bool:
        return on_active_nodes(config) and config.backup_method in names

    return applies


def _uses_ssh(config: ServerConfig) -> bool:
    return bool(config.active) and (bool(config.passive_node) or config.backup_method in ("rsync", "snapshot"))


@check("backup method", applies=on_active_nodes)
def backup_method(context: CheckContext) -> Outcome | None:
    """Backups can be taken in the way that is configured; printed only when they cannot."""
    from barman.backup.executor import require_built
    from barman.backup.tar_options import compression_problem, require_tools

    config = context.config
    try:
        require_built(config)
        program = _basebackup(context) if config.backup_method == "postgres" and config.backup_compression else None
        if program is not None:
            problem = compression_problem(config, program.version, context.facts.version if context.facts else None)
            if problem:
                raise BackupError(problem)
            require_tools(config, program)
    except (BackupError, CodecError) as error:
        return failed(f"{error.message}." + (f" {error.hint}" if error.hint else ""))
    return None


@check("ssh", applies=_uses_ssh)
def ssh(context: CheckContext) -> Outcome:
    """A command runs on the host of PostgreSQL, or on the primary Barman of a passive node."""
    command = _ssh_command(context)
    if not command:
        return failed("ssh_command is not set")
    from barman.transport.openssh import NO_QUESTIONS

    answer = _on_host(context, ["true"])
    if not isinstance(answer, TransportError) and answer.returncode == 0:
        return passed("Barman primary node" if context.config.passive_node else "PostgreSQL server")
    using = f"Connection failed using '{command} {' '.join(NO_QUESTIONS)}'"
    if not isinstance(answer, TransportError):
        return failed(f"{using} return code {answer.returncode}{_last_words(answer)}")
    reason = answer.reason if isinstance(answer, Unreachable) else answer.message
    code = answer.returncode if isinstance(answer, Unreachable) else None
    return failed(f"{using} return code {code}: {reason.rstrip('.')}" + (f". {answer.hint}" if answer.hint else ""))


@check("ssh output clean", applies=_uses_ssh)
def ssh_output_clean(context: CheckContext) -> Outcome | None:
    """The remote shell adds nothing to the output of commands."""
    done = _on_host(context, ["true"]) if _ssh_command(context) else None
    if done is None or isinstance(done, TransportError) or done.returncode != 0 or not (done.stdout or done.stderr):
        return None
    said = (done.stdout or done.stderr).decode(errors="replace").strip()[:_SHOWN]
    return failed(f"the configured ssh_command must not add anything to the remote command output; it added {said!r}")


@check("backup_label", applies=_method("rsync"))
def backup_label(context: CheckContext) -> Outcome | None:
    """A server that does not start because of a left-over label is told apart from one that is down."""
    if context.facts is not None or not _ssh_command(context):
        return None
    # A backup that failed knows the directory as well.
    backups = [context.view.backups[backup_id] for backup_id in context.view.ids]
    data = [info.pgdata for info in backups if info.pgdata]
    if not data:
        return None
    done = _on_host(context, ["test", "-e", os.path.join(data[-1], "backup_label")])
    if isinstance(done, TransportError) or done.returncode != 0:
        return None
    return failed("Check that the PostgreSQL server is up and no 'backup_label' file is in PGDATA.")


@check("local PGDATA", applies=_method("local-rsync"))
def local_pgdata(context: CheckContext) -> Outcome | None:
    """This process can read the data directory."""
    directory = context.facts.data_directory if context.facts else None
    if directory is None:
        return None
    if os.access(directory, os.R_OK | os.X_OK):
        return passed("Access to local PGDATA")
    return failed(f"cannot read '{directory}': run barman as its owner")


def _basebackup(context: CheckContext) -> Program | None:
    from barman.postgres.programs import find_pg_basebackup

    return find_pg_basebackup(context.server.search_path, context.facts.version if context.facts else None)


@check("pg_basebackup", applies=_method("postgres"))
def pg_basebackup(context: CheckContext) -> Outcome:
    """The client program is installed."""
    return passed() if _basebackup(context) else failed("not found: install it, or set 'path_prefix'")


@check("pg_basebackup compatible", applies=_method("postgres"))
def pg_basebackup_compatible(context: CheckContext) -> Outcome:
    """The client program is not older than the server."""
    return compatible(_basebackup(context), context, "pg_basebackup")


@check("pg_basebackup supports tablespaces mapping", applies=_method("postgres"))
def pg_basebackup_tablespaces(context: CheckContext) -> Outcome | None:
    """The client program can move tablespaces: every one since 9.4."""
    program = _basebackup(context)
    if context.facts is None or program is None:
        return None
    return Outcome(program.version.number >= 90400 or not context.facts.tablespaces)


@check("postgres minimal version", applies=_method("rsync", "local-rsync", "snapshot"))
def postgres_minimal_version(context: CheckContext) -> Outcome | None:
    """The server knows concurrent backups."""
    if context.facts is None or context.facts.version.number >= 90600 or _is_exclusive(context):
        return None
    return failed(f"concurrent backups need PostgreSQL 9.6, this is {context.facts.version.text}")


@check("not in recovery", applies=_method("rsync", "local-rsync", "snapshot"))
def not_in_recovery(context: CheckContext) -> Outcome | None:
    """Exclusive backups are taken from a primary."""
    if not _is_exclusive(context) or context.facts is None:
        return None
    return failed("cannot perform exclusive backup on a standby") if context.facts.in_recovery else passed()


@check("exclusive backup supported", applies=_method("rsync", "local-rsync", "snapshot"))
def exclusive_backup_supported(context: CheckContext) -> Outcome | None:
    """The server still knows exclusive backups."""
    if not _is_exclusive(context):
        return None
    if context.facts is None:
        return failed("unable to determine postgres version")
    if context.facts.version.number < 150000:
        return passed()
    return failed(f"exclusive backups not supported on PostgreSQL {context.facts.server_txt_version}")


def _is_exclusive(context: CheckContext) -> bool:
    return _EXCLUSIVE in context.config.backup_options


def _ssh_command(context: CheckContext) -> str:
    config = context.config
    return str((config.primary_ssh_command if config.passive_node else config.ssh_command) or "")


def _on_host(context: CheckContext, command: list[str]) -> Completed | TransportError:
    """Run a command over the way that rsync takes, once for each command. Raises DeadlineExceeded."""
    key = " ".join(command)
    if key not in context.answers:
        server = context.server
        try:
            host = server.primary_host if context.config.passive_node else server.host
            context.answers[key] = host.link.run(command, deadline=context.deadline, check=False)
        except DeadlineExceeded:
            raise
        except TransportError as error:
            context.answers[key] = error
    return context.answers[key]


def _last_words(done: Completed) -> str:
    lines = done.error_text.strip().splitlines()
    return f": {lines[-1].strip()}" if lines else ""
