"""Completion in the shell through argcomplete: commands, options, choices, servers, models and backups.

Entered only when the shell asks (`_ARGCOMPLETE` is set); what goes wrong means that nothing is proposed.
"""

from __future__ import annotations

import argparse
import os
from importlib import import_module

from barman.cli.arguments import SHORTCUTS
from barman.cli.parser import add_global_options
from barman.cli.table import COMMANDS, find
from barman.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from barman.config.loader import Settings

_TASKS = ("receive-wal", "sync-backup", "backup", "cron", "archive-wal", "sync-wal")


def complete() -> None:
    """Write the proposals where the shell expects them, and leave; returns when argcomplete is not installed."""
    try:
        import argcomplete
    except ImportError:
        return
    line = os.environ.get("COMP_LINE", "")
    argcomplete.autocomplete(make_parser(line.split()))


def make_parser(words: Iterable[str]) -> argparse.ArgumentParser:
    """All commands; those that stand among the words come with their arguments, the others need not be imported."""
    parser = argparse.ArgumentParser(prog="barman")
    add_global_options(parser)
    chosen = {command.name for word in words if (command := find(word)) is not None}
    subparsers = parser.add_subparsers(dest="command")
    for command in COMMANDS:
        subparser = subparsers.add_parser(command.name, help=command.help, aliases=command.aliases)
        if command.name in chosen:
            import_module(f"barman.cli.commands.{command.module}").add_arguments(subparser)
            for action in subparser._actions:
                completer = _completer(command.name, action)
                if completer is not None:
                    action.completer = completer  # type: ignore[attr-defined]  # what argcomplete looks for
    return parser


def _completer(command: str, action: argparse.Action) -> Callable[..., list[str]] | None:
    if action.dest == "server_name":
        return _several_servers if action.nargs in ("+", "*") else _one_server
    if action.dest == "backup_id" or (command == "backup" and action.dest == "incremental"):
        return _backups_for_restore if command == "restore" else _backups
    if action.dest == "model_name":
        return _models
    return _tasks if action.dest == "task" else None


def _one_server(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    return _proposals(lambda: _settings(parsed_args).servers)


def _several_servers(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    def find_names() -> Iterator[str]:
        typed = parsed_args.server_name if isinstance(getattr(parsed_args, "server_name", None), list) else []
        if not typed:
            yield "all"
        yield from (name for name in _settings(parsed_args).servers if name not in typed)

    return _proposals(find_names)


def _models(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    def find_names() -> Iterator[str]:
        settings = _settings(parsed_args)
        config = settings.servers[parsed_args.server_name].base
        cluster = config.cluster or config.name
        yield from (name for name, model in settings.models.items() if model.cluster == cluster)

    return _proposals(find_names)


def _tasks(**_: Any) -> list[str]:
    return list(_TASKS)


def _backups(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    def find_ids() -> Iterator[str]:
        name = parsed_args.server_name
        config = _settings(parsed_args).servers[name if isinstance(name, str) else name[0]]
        from barman.catalog.backups import BackupStore

        records, damaged = BackupStore(config.layout()).list()
        ids = sorted({*records, *damaged}, reverse=True)
        yield from ids
        if ids:
            yield from SHORTCUTS

    return _proposals(find_ids)


def _backups_for_restore(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    found = _backups(parsed_args)
    return [*found, "auto"] if found else []


def _proposals(find_names: Callable[[], Iterable[str]]) -> list[str]:
    try:
        return list(find_names())
    except Exception:  # noqa: BLE001  # the boundary: a shell that completes a word shows no errors
        return []


def _settings(parsed_args: argparse.Namespace) -> Settings:
    from barman.cli.user import become
    from barman.config.loader import barman_user, load_settings

    config_file = getattr(parsed_args, "config", None)
    if os.getuid() == 0:
        become(barman_user(config_file, os.environ))
    return load_settings(config_file, os.environ)
