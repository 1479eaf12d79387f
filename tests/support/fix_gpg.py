"""A keyring of its own, with keys for every kind of day; gpg's agent ends with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.needs import need_program

LOCKED, OPEN, EXPIRED = "locked@example.org", "open@example.org", "expired@example.org"
"""A key with a passphrase, one without, and one that expired long ago."""

PASSPHRASE = "correct horse"
PRINT_PASSPHRASE = f"echo '  {PASSPHRASE} '"


class Keyring:
    """A GNUPGHOME. Its path is short: gpg's agent listens on a socket in it."""

    def __init__(self) -> None:
        need_program("gpg")
        self.home = tempfile.mkdtemp(prefix="keys-", dir="/tmp")
        # The agent would spend a tenth of a second on each use of a passphrase, and a second on finding out how.
        Path(self.home, "gpg-agent.conf").write_text("s2k-count 65536\n")

    @property
    def environment(self) -> Mapping[str, str]:
        """What makes a program use this keyring."""
        return {"GNUPGHOME": self.home}

    def gpg(self, *arguments: str, stdin: bytes | None = None) -> bytes:
        """Run gpg on this keyring."""
        argv = ["gpg", "--homedir", self.home, "--batch", "--yes", "--quiet", "--pinentry-mode", "loopback", *arguments]
        return subprocess.run(argv, input=stdin, check=True, capture_output=True).stdout

    def add_key(self, name: str, passphrase: str, expires: str = "never", *, kind: str = "future-default") -> None:
        """Make a key that encrypts."""
        time = ["--faked-system-time", "20200101T000000"] if expires != "never" else []
        self.gpg(*time, "--passphrase", passphrase, "--quick-generate-key", name, kind, "default", expires)

    def ultimate_trust(self) -> bytes:
        """What `--import-ownertrust` reads to trust all keys: the original encrypts for trusted keys only."""
        lines = self.gpg("--with-colons", "--list-keys").decode().splitlines()
        return "".join(f"{line.split(':')[9]}:6:\n" for line in lines if line.startswith("fpr:")).encode()

    def without_secret_keys(self) -> Keyring:
        """A copy that can encrypt and not decrypt."""
        other = Keyring()
        other.gpg("--import", stdin=self.gpg("--export"))
        return other

    def forget_passphrases(self) -> None:
        """End the agent: it remembers."""
        subprocess.run(["gpgconf", "--homedir", self.home, "--kill", "all"], check=False, capture_output=True)

    def close(self) -> None:
        """End the agent and remove everything."""
        self.forget_passphrases()
        shutil.rmtree(self.home, ignore_errors=True)


@pytest.fixture(name="all_keys", scope="session")
def fixture_all_keys() -> Iterator[Keyring]:
    keyring = Keyring()
    try:
        keyring.add_key(LOCKED, PASSPHRASE, kind="rsa2048")
        keyring.gpg("--passphrase", PASSPHRASE, "--quick-add-key", fingerprint(keyring, LOCKED), "rsa2048", "encr")
        keyring.add_key(OPEN, "")
        keyring.add_key(EXPIRED, "", "1d")
        yield keyring
    finally:
        keyring.close()


@pytest.fixture(name="keyring")
def fixture_keyring(all_keys: Keyring, monkeypatch: pytest.MonkeyPatch) -> Keyring:
    """All keys, used by this process and those that it starts. The agent may remember a passphrase."""
    monkeypatch.setenv("GNUPGHOME", all_keys.home)
    return all_keys


@pytest.fixture(name="public_keyring")
def fixture_public_keyring(all_keys: Keyring) -> Iterator[Keyring]:
    """The same without the secret parts."""
    other = all_keys.without_secret_keys()
    try:
        yield other
    finally:
        other.close()


def fingerprint(keyring: Keyring, name: str) -> str:
    """The fingerprint of a key."""
    lines = keyring.gpg("--with-colons", "--list-keys", name).decode().splitlines()
    return next(line.split(":")[9] for line in lines if line.startswith("fpr:"))


def recording_gpg(directory: Path) -> Path:
    """A directory for PATH whose gpg notes its arguments and its environment, then is the real one."""
    directory.mkdir()
    real = need_program("gpg")
    script = directory / "gpg"
    script.write_text(f'#!/bin/sh\n{{ printf "%s\\n" "$0" "$@"; env; }} >> {directory}/seen\nexec {real} "$@"\n')
    script.chmod(0o755)
    return directory


def files_with(directory: str | os.PathLike[str], content: bytes) -> list[str]:
    """Every file below a directory that holds these bytes."""
    found = []
    for parent, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(parent, name)
            if os.path.isfile(path) and not os.path.islink(path) and content in Path(path).read_bytes():
                found.append(path)
    return sorted(found)
