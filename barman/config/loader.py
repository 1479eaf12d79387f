"""Find, read and merge the configuration files, and build the Settings of one run (config.md §1).

Layers, the later ones win: the main file, the `*.conf` files of `configuration_files_directory` by name, the file that
`config-update` writes; then, for a server, its active model. Only a damaged main file or a damaged [barman] section
stops everybody; whatever is wrong with one section concerns that server alone.
"""

from __future__ import annotations

import os

from barman.config import ini
from barman.config.paths import shared_path_conflicts
from barman.config.problems import LOG, Problem
from barman.config.resolve import GLOBAL_SECTION, Resolver, expand, is_set
from barman.config.server_config import (
    GLOBAL_OPTIONS,
    SERVER_OPTIONS,
    BarmanConfig,
    ModelConfig,
    ServerConfig,
)
from barman.config.values import parse_boolean
from barman.errors import ConfigError
from barman.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from barman.config.ini import Entry, IniFile

CONFIG_FILE_VARIABLE = "BARMAN_CONFIG_FILE"
DEFAULT_FILES = ("~/.barman.conf", "/etc/barman.conf", "/etc/barman/barman.conf")
AUTO_FILE = ".barman.auto.conf"  # in barman_home
ACTIVE_MODEL_FILE = ".active-model.auto"  # in backup_directory
RESERVED_NAMES = ("all",)


class Settings:
    """Everything that the configuration files say.

    `problems` are to be printed as warnings on every run, `log_problems` only go to the log; the `notices` of a
    ServerConfig are to be printed when that server is used. `global_errors` forbid every command but `diagnose`.
    `sections` are the entries as they stand in the files, merged.
    """

    __slots__ = (
        "barman",
        "files",
        "global_errors",
        "log_problems",
        "main_file",
        "models",
        "problems",
        "sections",
        "servers",
    )

    def __init__(
        self, main_file: str, barman: BarmanConfig, files: list[str], sections: dict[str, dict[str, Entry]]
    ) -> None:
        self.main_file = main_file
        self.barman = barman
        self.files = files
        self.sections = sections
        self.servers: dict[str, ServerConfig] = {}
        self.models: dict[str, ModelConfig] = {}
        self.problems: list[Problem] = []
        self.log_problems: list[Problem] = []
        self.global_errors: list[str] = []


def find_main_file(path: str | None, environ: Mapping[str, str]) -> str:
    """The main file: `path`, else the one in BARMAN_CONFIG_FILE, else the first of the usual places.

    Raises ConfigError when there is none.
    """
    named = path or environ.get(CONFIG_FILE_VARIABLE)
    if named:
        if not os.path.exists(named):
            raise ConfigError(f"Configuration file '{named}' does not exist", bare=True)
        return named
    home = environ.get("HOME") or os.path.expanduser("~")
    for place in DEFAULT_FILES:
        candidate = place.replace("~", home, 1)
        if os.path.isfile(candidate) and os.access(candidate, os.R_OK):
            return candidate
    raise ConfigError(
        "Could not find any configuration file at default locations.\n"
        "Use -c or BARMAN_CONFIG_FILE, or create one of: " + ", ".join(DEFAULT_FILES),
        bare=True,
    )


def load_settings(path: str | None, environ: Mapping[str, str], instead: Mapping[str, bytes] | None = None) -> Settings:
    """Load the whole configuration. Raises ConfigError when no command can run with it.

    `instead` holds contents by path that are taken for those of the files: what would be if they were written.
    """
    main_file = find_main_file(path, environ)
    return _Loader(main_file, environ, instead).load()


def barman_user(path: str | None, environ: Mapping[str, str]) -> str:
    """The user to become, from the main file alone: the other files may be readable for that user only."""
    main_file = find_main_file(path, environ)
    loader = _Loader(main_file, environ)
    loader.read_main_file()
    return loader.barman().barman_user


class _Loader:
    def __init__(self, main_file: str, environ: Mapping[str, str], instead: Mapping[str, bytes] | None = None) -> None:
        self.main_file = main_file
        self.environ = environ
        self.instead = instead or {}
        self.sections: dict[str, dict[str, Entry]] = {}
        self.flaws: dict[str, list[str]] = {}
        self.files: list[str] = []
        self.problems: list[Problem] = []

    # --- files

    def load(self) -> Settings:
        self.read_main_file()
        barman = self.barman()
        for file in self._included(barman.configuration_files_directory):
            self._merge(file)
        auto_file = os.path.join(barman.barman_home, AUTO_FILE)
        if auto_file in self.instead or os.path.exists(auto_file):
            self._merge(auto_file)
        settings = Settings(self.main_file, barman, self.files, self.sections)
        self._build(settings)
        return settings

    def _read(self, path: str) -> IniFile:
        content = self.instead.get(path)
        return ini.read(path) if content is None else ini.parse(content, path)

    def read_main_file(self) -> None:
        try:
            file = self._read(self.main_file)
        except OSError as error:
            raise ConfigError(
                f"cannot read configuration file '{self.main_file}': {error.strerror or error}"
            ) from error
        for flaw in file.flaws:
            if flaw.section in (ini.OUTSIDE, GLOBAL_SECTION):
                raise ConfigError(f"{self.main_file}:{flaw.line}: {flaw.message}")
        self._add(file)

    def _included(self, directory: str | None) -> list[str]:
        if not directory:
            return []
        home = self.environ.get("HOME")
        if home and (directory == "~" or directory.startswith("~/")):
            directory = home + directory[1:]
        directory = os.path.expanduser(directory)
        try:
            names = sorted(name for name in os.listdir(directory) if name.endswith(".conf"))
        except OSError as error:
            text = f"Ignoring the configuration_files_directory option: '{directory}': {error.strerror}"
            self.problems.append(Problem(text, option="configuration_files_directory", level=LOG))
            return []
        files = []
        for name in names:
            file = os.path.join(directory, name)
            if os.path.isfile(file):
                files.append(file)
            elif not name.startswith("."):
                text = f"Discarding configuration file '{file}': it is not a regular file"
                self.problems.append(Problem(text, origin=file, level=LOG))
        return files

    def _merge(self, path: str) -> None:
        try:
            file = self._read(path)
        except OSError as error:
            text = f"cannot read configuration file '{path}': {error.strerror or error}"
            self.problems.append(Problem(text, origin=path))
            return
        for flaw in file.flaws:
            if flaw.section in (ini.OUTSIDE, GLOBAL_SECTION):
                text = f"ignoring a line of the configuration: {path}:{flaw.line}: {flaw.message}"
                self.problems.append(Problem(text, origin=f"{path}:{flaw.line}"))
        self._check_global_section(file)
        self._add(file)

    def _check_global_section(self, file: IniFile) -> None:
        known = self.sections.get(GLOBAL_SECTION, {})
        for name, entry in file.sections.get(GLOBAL_SECTION, {}).items():
            if name not in known or known[name].text != entry.text:
                raise ConfigError(
                    f"FATAL: the [barman] section of '{file.path}' changes option '{name}' (line {entry.line}). "
                    f"It may only be set in the main configuration file '{self.main_file}'.",
                    bare=True,
                )

    def _add(self, file: IniFile) -> None:
        self.files.append(file.path)
        for section, entries in file.sections.items():
            if section == GLOBAL_SECTION and section in self.sections:
                continue
            self.sections.setdefault(section, {}).update(entries)
        for flaw in file.flaws:
            if flaw.section not in (ini.OUTSIDE, GLOBAL_SECTION):
                self.flaws.setdefault(flaw.section, []).append(f"{file.path}:{flaw.line}: {flaw.message}")

    # --- sections

    def barman(self) -> BarmanConfig:
        entries = self.sections.get(GLOBAL_SECTION, {})
        resolver = Resolver({})
        values: dict[str, Any] = {}
        for name, option in GLOBAL_OPTIONS.items():
            value = resolver.value(option, GLOBAL_SECTION, entries[name]) if name in entries else None
            if name in entries and is_set(value):
                values[name] = value
            elif name == "barman_home":
                raise ConfigError(
                    'Parameter "barman_home" is required in [barman] section.\n'
                    "Your configuration is missing required parameters. Exiting."
                )
            else:
                values[name] = option.default if option.template is None else expand(option.template, values)
        if values["log_file"]:
            values["log_file"] = os.path.abspath(values["log_file"])
        for name, entry in entries.items():
            if name not in GLOBAL_OPTIONS and name not in SERVER_OPTIONS:
                resolver.unknown_option(GLOBAL_SECTION, name, entry)
        self.problems.extend(resolver.problems)
        return BarmanConfig(
            values,
            {name: entry.text for name, entry in entries.items()},
            {name: entry.file for name, entry in entries.items()},
        )

    def _build(self, settings: Settings) -> None:
        barman = settings.barman
        resolver = Resolver(self.sections[GLOBAL_SECTION])
        resolver.problems = self.problems
        facts = {
            "name": "",
            "barman_home": barman.barman_home,
            "barman_user": barman.barman_user,
            "barman_lock_directory": barman.barman_lock_directory,
            "main_file": self.main_file,
        }
        servers = {}
        for section, entries in self.sections.items():
            if section == GLOBAL_SECTION:
                continue
            if section in RESERVED_NAMES:
                raise ConfigError(
                    f"FATAL: the reserved word '{section}' is not allowed as server name. Please rename it.", bare=True
                )
            if self._is_model(section, entries):
                settings.models[section] = self._model(section, entries, resolver)
            else:
                servers[section] = entries
        for name in sorted(servers):
            settings.servers[name] = self._server(servers[name], {**facts, "name": name}, resolver, settings.models)
        settings.global_errors = shared_path_conflicts(settings.servers.values())
        for problem in self.problems:
            (settings.log_problems if problem.level == LOG else settings.problems).append(problem)

    def _is_model(self, section: str, entries: dict[str, Entry]) -> bool:
        entry = entries.get("model")
        if entry is None:
            return False
        try:
            return parse_boolean(entry.text)
        except ValueError as error:
            # Server or model? Whoever uses the name must not get what was not meant.
            self.flaws.setdefault(section, []).append(f"{entry.origin}: option 'model': {error}")
            del entries["model"]
            return False

    def _model(self, section: str, entries: dict[str, Entry], resolver: Resolver) -> ModelConfig:
        values, sources = resolver.model(section, entries)
        if "cluster" not in values:
            raise ConfigError(
                f'Parameter "cluster" is required in [{section}] section.\n'
                "Your configuration is missing required parameters. Exiting."
            )
        cluster = values.pop("cluster")
        flaws = self._flaws(section, "model")
        return ModelConfig(section, cluster, values, sources, flaws=flaws)

    def _server(
        self, entries: dict[str, Entry], facts: dict[str, str], resolver: Resolver, models: dict[str, ModelConfig]
    ) -> ServerConfig:
        name = facts["name"]
        values, sources = resolver.server(name, entries, facts)
        reasons = self._flaws(name, "server")
        if "/" in name or "\0" in name or name in (".", ".."):
            reasons.append(f"invalid server name '{name}': it must be usable as the name of a directory")
        model, reason = _active_model(values["backup_directory"], name, models)
        if reason:
            reasons.append(reason)
        config = ServerConfig(facts, values, sources, reasons=reasons)
        return config if model is None else config.with_model(model)

    def _flaws(self, section: str, what: str) -> list[str]:
        flaws = self.flaws.get(section, [])
        for flaw in flaws:
            text = f"invalid configuration of {what} '{section}': {flaw}"
            origin = ":".join(flaw.split(":")[:2])
            self.problems.append(Problem(text, section=section, origin=origin, disables_server=True))
        return list(flaws)


def _active_model(
    backup_directory: str, server: str, models: Mapping[str, ModelConfig]
) -> tuple[ModelConfig | None, str]:
    """The model that `config-switch` chose for the server, or why there is none (an empty text: nobody chose)."""
    path = os.path.join(backup_directory, ACTIVE_MODEL_FILE)
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            name = file.read().strip()
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        return None, f"cannot read the active model of server '{server}' from '{path}': {error.strerror}"
    if not name:
        return None, ""
    if name not in models:
        return (
            None,
            f"Model '{name}' is set as the active model for the server named '{server}' but the model does not exist.",
        )
    return models[name], ""
