"""The passphrase of a key, from the configured command: asked for once a process, never written anywhere."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from barman.clock import Deadline, monotonic
from barman.encryption.openpgp import EncryptionError
from barman.errors import DeadlineExceeded, TransportError
from barman.process import describe_status, run

PATIENCE = 60.0
"""Seconds that the command may take: it may ask a key service, and nobody is there to type."""

_FAILURE_HOLDS = 10.0
"""Seconds during which a failure is not tried again: a restore asks for many segments at once."""

_LONGEST = 4096
_OPTION = "encryption_passphrase_command"


class Passphrase:
    """What `encryption_passphrase_command` prints, without the white space around it. Safe to use from several threads.

    Neither the passphrase nor what the command says on standard error gets into messages or logs: only its exit code.
    """

    def __init__(self, command: str, env: Mapping[str, str] | None = None, patience: float = PATIENCE) -> None:
        self._command = command
        self._env = env
        self._patience = patience
        self._guard = threading.Lock()
        self._value: bytes | None = None
        self._failure: EncryptionError | None = None
        self._failed_at = 0.0

    def get(self) -> bytes:
        """Return the passphrase. Raises EncryptionError."""
        with self._guard:
            if self._value is not None:
                return self._value
            if self._failure is not None and monotonic() - self._failed_at < _FAILURE_HOLDS:
                raise EncryptionError(self._failure.message, hint=self._failure.hint)
            try:
                self._value = self._ask()
            except EncryptionError as failure:
                self._failure, self._failed_at = failure, monotonic()
                raise
            return self._value

    def _ask(self) -> bytes:
        try:
            done = run(["/bin/sh", "-c", self._command], env=self._env, deadline=Deadline(self._patience), check=False)
        except DeadlineExceeded:
            raise self._failed(f"did not end within {self._patience:g} seconds") from None
        except TransportError:
            raise self._failed("cannot be run") from None
        if done.returncode != 0:
            raise self._failed(f"ended with {describe_status(done.returncode)}")
        value = done.stdout.strip()
        if not value:
            raise self._failed("printed nothing: an empty passphrase")
        if len(value) > _LONGEST or b"\n" in value:
            raise self._failed("printed something else than one line")
        return value

    @staticmethod
    def _failed(what: str) -> EncryptionError:
        return EncryptionError(
            f"the command of {_OPTION} {what}",
            hint=f"Run the command of {_OPTION} by hand, as the user of Barman: it has to print the passphrase.",
        )
