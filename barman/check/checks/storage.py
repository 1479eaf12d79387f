"""How data are stored: compression, encryption, places that are not directories."""

from __future__ import annotations

from barman.backup.tar_options import encryption_problem
from barman.check.check import Outcome, check, failed, passed
from barman.errors import BarmanError
from barman.process import find_program
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barman.check.context import CheckContext
    from barman.config.server_config import ServerConfig


@check("encryption", applies=lambda config: bool(config.encryption))
def encryption(context: CheckContext) -> Outcome:
    """The rules of encrypted backups are kept, and gpg can encrypt for the key."""
    broken = encryption_problem(context.config)
    return failed(broken) if broken else _try_gpg(context)


def _try_gpg(context: CheckContext) -> Outcome:
    """Encrypt a few bytes and, if a passphrase command is configured, decrypt them; nothing is written."""
    from barman.server.filters import gpg_of

    try:
        gpg_of(context.config).try_out()
    except BarmanError as error:
        return failed(f"encryption test failed. Check the log file for more details: {error.message}")
    return passed("encryption test succeeded")


def _in_the_cloud(config: ServerConfig) -> bool:
    return "://" in config.basebackups_directory or "://" in config.wals_directory


@check("cloud storage configuration", applies=_in_the_cloud)
def cloud_storage_configuration(context: CheckContext) -> Outcome:
    """Buckets are recognised, and not served."""
    return failed("object storage is not supported by this version: use directories")


@check("compression settings")
def compression_settings(context: CheckContext) -> Outcome:
    """WAL can be compressed as configured: the format is known, its library or program is there."""
    config = context.config
    if not config.compression:
        return passed()
    from barman.compression.codec import find_codec
    from barman.server.filters import configured_filters

    try:
        custom = configured_filters(config)
        if config.compression == "custom":
            custom.require_both()
        if config.compression == "pigz" and find_program(["pigz"], context.server.search_path) is None:
            return failed("pigz not found: install it, or set 'path_prefix'")
        find_codec(config.compression, level=config.compression_level, custom=custom, env=context.server.environment)
    except BarmanError as error:
        return failed(error.message)
    return passed()
