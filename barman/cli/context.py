"""What a command gets: settings, reporter, and the servers it was asked for."""

from __future__ import annotations

import os

from barman.errors import BarmanError
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from barman.catalog.backup_info import BackupInfo
    from barman.catalog.view import CatalogView
    from barman.config.loader import Settings
    from barman.config.server_config import ServerConfig
    from barman.output.console import ConsoleReporter
    from barman.output.json import JsonReporter
    from barman.server.server import Server


_NOT_HERE = (
    "It copies what another Barman has: run this there, or make the server active by removing primary_ssh_command."
)


class Context:
    """Settings are loaded by `main` before the command runs; servers are opened one at a time.

    The log file is opened with the first server or the first message: a light command does without.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        settings: Settings,
        reporter: ConsoleReporter | JsonReporter,
        *,
        open_log: Callable[[], None],
    ) -> None:
        self.open_log = open_log
        self.options = options
        self.settings = settings
        self.reporter = reporter
        self.exit_code: int | None = None

    @property
    def config_file(self) -> str:
        """Return the path of the main configuration file."""
        return self.settings.main_file

    @property
    def quiet(self) -> bool:
        """Tell whether --quiet was given."""
        return bool(self.options.quiet)

    def report_global_errors(self) -> bool:
        """Say what is wrong with the configuration as a whole; tell whether anything is."""
        for message in self.settings.global_errors:
            self.reporter.error(message)
        return bool(self.settings.global_errors)

    def configs(self, names: Sequence[str]) -> list[ServerConfig]:
        """Return the chosen servers' configurations in the order of their names; unknown ones are reported."""
        servers = self.settings.servers
        if "all" in names:
            if len(set(names)) > 1:
                raise BarmanError("you cannot use 'all' together with other server names")
            return [servers[name] for name in sorted(servers)]
        chosen = []
        for name in sorted(set(names)):
            if name in servers:
                chosen.append(servers[name])
            else:
                self.reporter.error(f"Unknown server '{name}'")
        return chosen

    def servers(
        self, names: Sequence[str], *, inactive: str = "ok", disabled: str = "ok", passive: str = "ok"
    ) -> Iterator[Server]:
        """Yield the chosen servers that the command can serve; each is closed when the next one is asked for.

        `inactive`, `disabled`, `passive`: "ok" serves them, "skip" says so and passes over, "error" reports.
        """
        from barman.server.server import Server

        self.open_log()
        if self.report_global_errors():
            return
        for config in self.configs(names):
            if self._serves(config, inactive, disabled, passive):
                for notice in config.notices:
                    self.reporter.warning(notice.text)
                with Server(config) as server:
                    yield server

    def server(self, name: str, *, inactive: str = "ok", disabled: str = "ok", passive: str = "ok") -> Server | None:
        """Return the one server a command works on; None when it was skipped or an error was reported."""
        if name == "all":
            raise BarmanError("you cannot use 'all' with this command: it works on one server")
        return next(self.servers([name], inactive=inactive, disabled=disabled, passive=passive), None)

    def backup(self, server: Server, word: str) -> tuple[BackupInfo, CatalogView]:
        """Return the backup that a word means, and the catalog it was found in; an unsure choice is told.

        Raises UnknownBackup, CatalogError, and CorruptRecord for an id whose record cannot be read.
        """
        from barman.catalog.backup_id import overlooked, resolve

        view = server.catalog.snapshot()
        chosen = resolve(word, view)
        doubt = overlooked(word, chosen, view)
        if doubt:
            self.reporter.warning(doubt)
        return view.backups[chosen], view

    def each(
        self,
        names: Sequence[str],
        action: Callable[[Server], None],
        *,
        inactive: str = "ok",
        disabled: str = "ok",
        passive: str = "ok",
    ) -> None:
        """Run `action` for every chosen server; a failing one is reported and the others go on."""
        for server in self.servers(names, inactive=inactive, disabled=disabled, passive=passive):
            try:
                action(server)
            except BarmanError as error:
                report_error(error, self.reporter)

    def _serves(self, config: ServerConfig, inactive: str, disabled: str, passive: str) -> bool:
        if config.disabled and disabled == "error":
            for message in list(config.msg_list)[:1]:
                self.reporter.error(message)
            return False
        if not config.active and inactive != "ok":
            return self._refuse(
                inactive, f"Skipping inactive server '{config.name}'", f"Inactive server: {config.name}"
            )
        if config.passive_node and passive != "ok":
            text = f"server {config.name} is passive"
            return self._refuse(passive, f"Skipping passive server '{config.name}'", text, _NOT_HERE)
        return True

    def _refuse(self, rule: str, skip_text: str, error_text: str, hint: str = "") -> bool:
        if rule == "skip":
            self.reporter.info(skip_text)
        else:
            self.reporter.error(error_text)
            if hint:
                self.reporter.hint(hint)
        return False


def report_error(error: BarmanError, reporter: ConsoleReporter | JsonReporter) -> None:
    """Report an expected failure: message, then what can be done about it."""
    reporter.error(error.message)
    if error.hint:
        reporter.hint(error.hint)


def close_standard_output() -> None:
    """Leave standard output in a state in which the interpreter's last flush cannot fail."""
    descriptor = os.open(os.devnull, os.O_WRONLY)
    os.dup2(descriptor, 1)
    os.close(descriptor)
