"""How stored WAL of one server is read: the formats that its configuration adds to those that are built in."""

from __future__ import annotations

import os

from barman.compression.codec import CustomFilters
from barman.typing import TYPE_CHECKING
from barman.values import replace

if TYPE_CHECKING:
    from io import BufferedReader

    from barman.config.server_config import ServerConfig
    from barman.encryption.gpg import Gpg
    from barman.encryption.passphrase import Passphrase


def configured_filters(config: ServerConfig) -> CustomFilters:
    """Return the filters of `compression = custom`, and what reads encrypted files.

    The latter is there whatever `encryption` says now: an archive keeps what it got under earlier settings. Nothing is
    started before an encrypted file is opened. Raises CodecError for a magic that is no hexadecimal number.
    """
    filters = CustomFilters.from_options(
        config.custom_compression_filter, config.custom_decompression_filter, config.custom_compression_magic
    )
    return replace(filters, unsealer=_Late(config))


def gpg_of(config: ServerConfig) -> Gpg:
    """Return gpg with the key and the passphrase command of a server."""
    from barman.encryption.gpg import Gpg

    path = os.environ.get("PATH", os.defpath)
    search_path = f"{config.path_prefix}:{path}" if config.path_prefix else path
    return Gpg(search_path, config.encryption_key_id, _passphrase_of(config), _environment(config))


def _environment(config: ServerConfig) -> dict[str, str] | None:
    from barman.process import environment_with_path

    return environment_with_path(config.path_prefix)


_passphrases: dict[tuple[str, str | None], Passphrase] = {}
"""The command is asked once a process, however many parts of it open files."""


def _passphrase_of(config: ServerConfig) -> Passphrase | None:
    from barman.encryption.passphrase import Passphrase

    command = config.encryption_passphrase_command
    if not command:
        return None
    key = (str(command), config.path_prefix)
    return _passphrases.setdefault(key, Passphrase(str(command), _environment(config)))


class _Late:
    """gpg, imported when the first encrypted file is opened: most archives have none."""

    __slots__ = ("_config", "_gpg")

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        self._gpg: Gpg | None = None

    def recognises(self, head: bytes) -> bool:
        from barman.encryption.openpgp import is_encrypted

        return is_encrypted(head)

    def open(self, path: str) -> BufferedReader:
        if self._gpg is None:
            self._gpg = gpg_of(self._config)
        return self._gpg.open(path)
