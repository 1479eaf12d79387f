"""The classes that hold configuration values: BarmanConfig, ServerConfig, ModelConfig, composed of declarations."""

from __future__ import annotations

from barman.config.adjust import adjust
from barman.config.options.backup import BackupOptionSet
from barman.config.options.cloud import CloudOptions
from barman.config.options.connection import ConnectionOptions, IdentityOptions
from barman.config.options.general import GlobalOptions
from barman.config.options.hooks import HookOptions
from barman.config.options.restore import RestoreOptions
from barman.config.options.retention import RetentionOptions
from barman.config.options.storage import StorageOptions
from barman.config.options.wal import WalOptions
from barman.config.paths import own_path_conflicts
from barman.config.refusals import refusals
from barman.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from barman.catalog.layout import Layout
    from barman.config.option import Option
    from barman.config.problems import Problem

DEFAULT_SOURCE = "default"


class BarmanConfig(GlobalOptions):
    """The [barman] section.

    `written` holds the texts of everything in the section, server options too; `sources` the file of each.
    """

    def __init__(self, values: Mapping[str, Any], written: Mapping[str, str], sources: Mapping[str, str]) -> None:
        self.__dict__.update(values)
        self.written = written
        self.sources = sources

    def items(self) -> Iterator[tuple[str, object]]:
        """What `diagnose` shows as the global configuration: the section as written, and the computed directories."""
        shown: dict[str, object] = dict(self.written)
        for name in ("barman_lock_directory", "lock_directory_cleanup", "config_changes_queue"):
            shown[name] = self.__dict__[name]
        yield from sorted(shown.items())

    def source(self, name: str) -> str:
        """File that the value comes from, or `default`."""
        return self.sources.get(name, DEFAULT_SOURCE)


class ServerOptions(
    CloudOptions,
    HookOptions,
    RestoreOptions,
    RetentionOptions,
    WalOptions,
    BackupOptionSet,
    StorageOptions,
    ConnectionOptions,
    IdentityOptions,
):
    """Every option that a server section may have."""


class ServerConfig(ServerOptions):
    """The effective configuration of one server. Values are read as attributes and never change.

    Besides the options: `name`, `barman_home`, `barman_user`, `barman_lock_directory`, `main_file`, `active_model`
    (name or None), `passive_node`; `disabled` and `msg_list`, the reasons why it is; `notices`, what to tell whenever
    the server is used (Problems); `sources`, the file of each value; `base`, the configuration without its model.
    """

    name: str
    barman_home: str
    barman_user: str
    barman_lock_directory: str
    main_file: str
    notices: list[Problem]
    base: ServerConfig

    def __init__(
        self,
        facts: Mapping[str, str],
        declared: Mapping[str, Any],
        sources: Mapping[str, str],
        *,
        active_model: str | None = None,
        reasons: Sequence[str] = (),
    ) -> None:
        """Take the values as declared, adjust them, and judge them; `reasons` are reasons to disable found before."""
        self._declared = declared
        self._reasons = reasons
        self.__dict__.update(facts)
        self.__dict__.update(declared)
        self.sources = sources
        self.active_model = active_model
        self.base = self
        adjusted, self.notices = adjust(self)
        self.__dict__.update(adjusted)
        self.msg_list: list[str] = [*own_path_conflicts(self), *reasons, *refusals(self)]

    def __repr__(self) -> str:
        return f"ServerConfig({self.name!r})"

    @property
    def disabled(self) -> bool:
        """Whether something in the configuration makes the server unusable; `msg_list` says what."""
        return bool(self.msg_list)

    @property
    def passive_node(self) -> bool:
        """Whether backups and WAL are copied from another Barman."""
        return bool(self.primary_ssh_command)

    def layout(self) -> Layout:
        """Every path and file name of the server's data."""
        from barman.catalog.layout import Layout

        return Layout(
            server_name=self.name,
            barman_home=self.barman_home,
            backup_directory=self.backup_directory,
            basebackups_directory=self.basebackups_directory,
            wals_directory=self.wals_directory,
            incoming_directory=self.incoming_wals_directory,
            streaming_directory=self.streaming_wals_directory,
            errors_directory=self.errors_directory,
            xlogdb_directory=self.xlogdb_directory,
            lock_directory=self.barman_lock_directory,
        )

    def items(self) -> Iterator[tuple[str, object]]:
        """Every option with its value, sorted, `disabled` and `name` among them, as show-servers needs them.

        `str()` of a value is its text form, for instance `BackupOptions({'concurrent_backup'})`.
        """
        for name in sorted([*SERVER_OPTIONS, "disabled", "name"]):
            yield name, getattr(self, name)

    def json_items(self) -> Iterator[tuple[str, object]]:
        """Like `items`, with values as `diagnose` and `sync-info` show them: lists as text, intervals for people."""
        for name, value in self.items():
            option = SERVER_OPTIONS.get(name)
            yield name, value if option is None else option.show(value)

    def source(self, name: str) -> str:
        """File that the value of an option comes from, or `default`."""
        return self.sources.get(name, DEFAULT_SOURCE)

    def with_model(self, model: ModelConfig) -> ServerConfig:
        """This configuration with the values of a model; defaults computed from other options stay (config.md §5)."""
        switched = ServerConfig(
            {name: self.__dict__[name] for name in FACTS},
            {**self._declared, **model.values},
            {**self.sources, **model.sources},
            active_model=model.name,
            reasons=(*self._reasons, *model.flaws),
        )
        switched.base = self
        return switched


FACTS = ("name", "barman_home", "barman_user", "barman_lock_directory", "main_file")
GLOBAL_OPTIONS: dict[str, Option[Any]] = BarmanConfig.options()
SERVER_OPTIONS: dict[str, Option[Any]] = ServerOptions.options()
MODEL_OPTIONS: dict[str, Option[Any]] = {name: option for name, option in SERVER_OPTIONS.items() if "M" in option.scope}


class ModelConfig:
    """A model: values that replace those of a server in the same cluster. Unset options are absent from `values`."""

    __slots__ = ("cluster", "flaws", "name", "sources", "values")

    def __init__(
        self,
        name: str,
        cluster: str,
        values: Mapping[str, Any],
        sources: Mapping[str, str],
        *,
        flaws: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.cluster = cluster
        self.flaws = flaws
        self.values = values
        self.sources = sources

    def json_items(self) -> Iterator[tuple[str, object]]:
        """Every option a model may have, as `diagnose` shows it; None where the model says nothing."""
        shown: dict[str, object] = {name: option.show(self.values.get(name)) for name, option in MODEL_OPTIONS.items()}
        shown.update(cluster=self.cluster, model=True, disabled=None)
        yield from sorted(shown.items())

    def source(self, name: str) -> str:
        """File that the value of an option comes from, or `default`."""
        return self.sources.get(name, DEFAULT_SOURCE)
