"""GnuPG: encrypt for a key, decrypt with a passphrase, through pipes only: no plaintext touches a disk on the way.

The passphrase goes through a pipe (`--passphrase-fd 0`), so that it is in no argument, no environment and no file. What
went wrong is read from gpg's status lines (`doc/DETAILS` of GnuPG), which no language setting changes.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from barman.clock import Deadline
from barman.encryption.openpgp import DamagedMessage, EncryptionError, is_encrypted
from barman.encryption.passphrase import Passphrase
from barman.errors import CommandFailed, DeadlineExceeded, TransportError
from barman.process import Completed, Piped, find_program, last_line, run
from barman.typing import Any, BinaryIO, cast

CHUNK = 1 << 20
SILENCE = 120.0
"""Seconds without a sign of life after which gpg is given up: a key service or an agent does not answer."""

_COMMON = ("--batch", "--yes", "--no-tty", "--quiet", "--status-fd", "2", "--pinentry-mode", "loopback")
_SAMPLE = b"barman"
_LITTLE_ROOM = 1 << 20
_REASONS = {
    "1": "the key is not in the keyring",
    "2": "the key is ambiguous",
    "3": "the key is not one to encrypt with",
    "4": "the key is revoked",
    "5": "the key has expired",
    "13": "the key is disabled",
}
"""Of `INV_RECP`: why a key cannot be encrypted for."""


class Gpg:
    """gpg as one server uses it. Nothing is started or asked before it is needed; safe to use from several threads.

    `key_id` is the recipient, None when nothing is to be encrypted; `passphrase` None when no command is configured,
    which is enough for keys without a passphrase.
    """

    name = "gpg"

    def __init__(
        self, search_path: str, key_id: str | None, passphrase: Passphrase | None, env: Mapping[str, str] | None = None
    ) -> None:
        self._search_path = search_path
        self._key_id = key_id
        self._passphrase = passphrase
        self._env = env

    def recognises(self, head: bytes) -> bool:
        """Tell whether a file that begins with `head` is one that `open` can read."""
        return is_encrypted(head)

    def open(self, path: str) -> io.BufferedReader:
        """Return a stream of the decrypted content of the file `path`; closing it early ends gpg.

        Raises EncryptionError. Reading raises EncryptionError too, at the end at the latest: what was read before is
        known to be whole only then. DamagedMessage when it is the file that is damaged.
        """
        secret = self._passphrase.get() if self._passphrase is not None else None
        given = [] if secret is None else ["--passphrase-fd", "0"]
        child = self._start([*given, "--decrypt", "--", path])
        try:
            if secret is not None:
                child.write(secret + b"\n")
        except BrokenPipeError:
            pass  # its status tells
        child.end_input()
        return io.BufferedReader(_Decrypted(child, lambda done: self._why_not_decrypted(done, path)), CHUNK)

    @contextmanager
    def encrypting(self, output: BinaryIO) -> Iterator[BinaryIO]:
        """Encrypt into the open file `output` what is written to the stream in the block; whole when the block ends.

        Raises EncryptionError, and OSError when the output cannot be written, as on a full disk.
        """
        key_id = self.require_key()
        output.flush()
        argv = ["--compress-level", "0", "--no-auto-key-locate", "--trust-model", "always"]
        with self._start([*argv, "--recipient", key_id, "--encrypt"], output) as child:
            broken = False
            try:
                yield cast(BinaryIO, _Plain(child))
            except BrokenPipeError:
                broken = True
            try:
                done = child.finish(Deadline(SILENCE))
            except DeadlineExceeded as error:
                raise EncryptionError(f"cannot encrypt for key '{key_id}': {error.message}") from error
            if broken or done.returncode != 0 or "END_ENCRYPTION" not in _statuses(done):
                _raise_if_full(output)
                raise self._why_not_encrypted(done, key_id)

    def require_key(self) -> str:
        """Return the recipient. Raises EncryptionError when none is configured, or gpg is not installed."""
        if not self._key_id:
            raise EncryptionError(
                "encryption = gpg needs the option encryption_key_id",
                hint="Set encryption_key_id to the key to encrypt for: 'gpg --list-keys' shows them.",
            )
        self._program()
        return self._key_id

    def try_out(self) -> None:
        """Encrypt a few bytes; decrypt them too if a passphrase command is configured. Raises EncryptionError."""
        with os.fdopen(os.memfd_create("barman-encryption"), "w+b") as file:
            with self.encrypting(file) as stream:
                stream.write(_SAMPLE)
            if self._passphrase is None:
                return
            with self.open(f"/proc/{os.getpid()}/fd/{file.fileno()}") as decrypted:
                if decrypted.read() != _SAMPLE:
                    raise EncryptionError("gpg does not give back what it encrypted")

    def _program(self) -> str:
        found = find_program(["gpg", "gpg2"], self._search_path)
        if found is None:
            raise EncryptionError(
                f"gpg not found in '{self._search_path}'", hint="Install GnuPG, or set path_prefix to where it is."
            )
        return found

    def _start(self, arguments: list[str], output: BinaryIO | None = None) -> Piped:
        program = self._program()
        try:
            return Piped([program, *_COMMON, *arguments], env=self._env, output=output)
        except CommandFailed as error:
            raise EncryptionError(error.message) from error

    def _why_not_encrypted(self, done: Completed, key_id: str) -> Exception:
        statuses = _statuses(done)
        if done.returncode < 0:
            return EncryptionError(f"gpg was ended by signal {-done.returncode} while it encrypted")
        refused = statuses.get("INV_RECP")
        if refused is not None:
            reason = _REASONS.get(refused.split(" ")[0], last_line(_spoken(done)))
            if "KEYEXPIRED" in statuses:
                reason = _REASONS["5"]
            return EncryptionError(
                f"cannot encrypt for key '{key_id}': {reason}",
                hint=f"Run 'gpg --list-keys {key_id}' as the user of Barman; import the key, or a renewed one, with "
                "'gpg --import', or change encryption_key_id.",
            )
        return EncryptionError(
            f"cannot encrypt for key '{key_id}': {last_line(_spoken(done))}",
            hint=f"Run 'gpg --list-keys {key_id}' as the user of Barman.",
        )

    def _why_not_decrypted(self, done: Completed, path: str) -> EncryptionError:
        statuses = _statuses(done)
        said = f"cannot decrypt '{path}'"
        if done.returncode < 0:
            return EncryptionError(f"{said}: gpg was ended by signal {-done.returncode}")
        key = statuses.get("ENC_TO", "").split(" ")[0]
        if not key or "DECRYPTION_KEY" in statuses or "DECRYPTION_INFO" in statuses:
            return DamagedMessage(f"{said}: damaged data ({last_line(_spoken(done))})")
        if not self._has_secret_key(key):
            return EncryptionError(
                f"{said}: it is encrypted for key {key}, whose secret part is not in the keyring",
                hint="Import the secret key with 'gpg --import' as the user of Barman; 'gpg --list-secret-keys' shows "
                "which ones are there.",
            )
        if self._passphrase is None:
            return EncryptionError(
                f"{said}: key {key} needs a passphrase, and no command that prints it is configured",
                hint="Set encryption_passphrase_command.",
            )
        return EncryptionError(
            f"{said}: the passphrase for key {key} is wrong, or gpg's agent failed ({last_line(_spoken(done))})",
            hint="Run the command of encryption_passphrase_command by hand: it has to print that key's passphrase.",
        )

    def _has_secret_key(self, key: str) -> bool:
        """Ask the keyring: how gpg fails is the same with a wrong passphrase."""
        argv = [self._program(), "--batch", "--no-tty", "--list-secret-keys", "--", key]
        try:
            return run(argv, env=self._env, deadline=Deadline(SILENCE), check=False).returncode == 0
        except TransportError:
            return False


class _Decrypted(io.RawIOBase):
    """What gpg writes. The end comes only when gpg has found everything whole."""

    def __init__(self, child: Piped, why: Callable[[Completed], EncryptionError]) -> None:
        self._child = child
        self._why = why
        self._position = 0
        self._over = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        filled = 0
        while filled < len(buffer) and not self._over:
            data = self._next(len(buffer) - filled)
            buffer[filled : filled + len(data)] = data
            filled += len(data)
        self._position += filled
        return filled

    def _next(self, size: int) -> bytes:
        try:
            data = self._child.read(size, Deadline(SILENCE))
            if not data:
                self._over = True
                done = self._child.finish(Deadline(SILENCE))
                if done.returncode != 0 or "DECRYPTION_OKAY" not in _statuses(done):
                    raise self._why(done)
        except DeadlineExceeded as error:
            raise EncryptionError(f"cannot decrypt: {error.message}") from error
        return data

    def tell(self) -> int:
        """How many plain bytes were read from gpg."""
        return self._position

    def close(self) -> None:
        """End gpg."""
        self._child.close()
        super().close()


class _Plain:
    """What takes the plaintext: only `write`, and nothing by which another process could open it."""

    name = None

    def __init__(self, child: Piped) -> None:
        self._child = child

    def write(self, data: bytes) -> int:
        return self._child.write(data)


def _raise_if_full(output: BinaryIO) -> None:
    """Raise OSError when there is no room where gpg was writing."""
    facts = os.fstatvfs(output.fileno())
    if facts.f_bavail * facts.f_frsize < _LITTLE_ROOM and facts.f_blocks:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(output.name))


def _statuses(done: Completed) -> dict[str, str]:
    """The status lines of gpg: keyword and arguments; of a repeated one the first."""
    found: dict[str, str] = {}
    for line in done.error_text.splitlines():
        if line.startswith("[GNUPG:] "):
            keyword, _, rest = line[9:].partition(" ")
            found.setdefault(keyword, rest)
    return found


def _spoken(done: Completed) -> str:
    """What gpg said for people."""
    return "\n".join(line for line in done.error_text.splitlines() if not line.startswith("[GNUPG:] "))
