"""Choose the model of a server, or none: `config-switch`."""

from __future__ import annotations

from barman.config.change_request import shown_value
from barman.config.server_config import SERVER_OPTIONS
from barman.errors import ConfigError
from barman.fs import durable
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barman.config.loader import Settings
    from barman.config.server_config import ModelConfig, ServerConfig
    from barman.report import Reporter


def apply_model(config: ServerConfig, name: str, settings: Settings, reporter: Reporter) -> None:
    """Make a model the active one of a server, durably. Raises ConfigError when there is no such, or it is no fit."""
    model = settings.models.get(name)
    if model is None:
        raise ConfigError(f"Unknown model '{name}'", hint=_models_of(config, settings))
    if model.cluster != cluster_of(config.base):
        raise ConfigError(
            f"Model '{name}' has 'cluster={model.cluster}', which is not compatible with "
            f"'cluster={cluster_of(config.base)}' from server '{config.name}'",
            hint=_models_of(config, settings),
        )
    if config.active_model == name:
        reporter.info(f"Model '{name}' is already active for server '{config.name}', skipping...")
        return
    reporter.info(f"Applying model '{name}' to server '{config.name}'")
    for line in _changes(config, config.base.with_model(model), model):
        reporter.info(line)
    durable.make_directory(config.backup_directory)
    durable.write_atomic(config.layout().active_model, name)


def reset_model(config: ServerConfig, reporter: Reporter) -> None:
    """Let the server be as its section says."""
    reporter.info(f"Resetting the active model for the server {config.name}")
    durable.remove([config.layout().active_model])


def cluster_of(config: ServerConfig) -> str:
    """The cluster of a server: its own name unless it says another."""
    return config.cluster or config.name


def _changes(before: ServerConfig, after: ServerConfig, model: ModelConfig) -> list[str]:
    """A line for each option that will differ: those of the model, then those that only the previous one had."""
    names = [*model.values, *(name for name in SERVER_OPTIONS if name not in model.values)]
    lines = []
    for name in names:
        old, new = _shown(before, name), _shown(after, name)
        if name != "cluster" and getattr(before, name) != getattr(after, name):
            lines.append(
                f"Changing value of option '{name}' for server '{after.name}' from '{old}' to '{new}' "
                f"through the model '{model.name}'"
            )
    return lines


def _shown(config: ServerConfig, name: str) -> str:
    return shown_value(name, str(getattr(config, name)))


def _models_of(config: ServerConfig, settings: Settings) -> str:
    names = sorted(name for name, model in settings.models.items() if model.cluster == cluster_of(config.base))
    return f"Models of this cluster: {', '.join(names)}." if names else "No model has the cluster of this server."
