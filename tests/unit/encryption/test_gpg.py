"""gpg as it is: keys of every kind, wrong passphrases, damaged data, full disks."""

from __future__ import annotations

import errno
import os
import random
import subprocess
from pathlib import Path

import pytest

from barman.encryption.gpg import Gpg
from barman.encryption.openpgp import DamagedMessage, EncryptionError, is_encrypted
from barman.encryption.passphrase import Passphrase
from tests.support.fix_gpg import (
    EXPIRED,
    LOCKED,
    OPEN,
    PASSPHRASE,
    PRINT_PASSPHRASE,
    Keyring,
    recording_gpg,
)
from tests.support.needs import small_disk

CONTENT = random.Random(1).randbytes(3_000_000)
PATH = os.environ["PATH"]


def gpg(key: str | None = LOCKED, command: str | None = PRINT_PASSPHRASE, path: str = PATH) -> Gpg:
    return Gpg(path, key, Passphrase(command) if command is not None else None)


def encrypt(path: Path, content: bytes = CONTENT, using: Gpg | None = None) -> Path:
    with path.open("w+b") as file, (using or gpg()).encrypting(file) as stream:
        for start in range(0, len(content), 700_001):
            stream.write(content[start : start + 700_001])
    return path


def decrypt(path: Path, using: Gpg | None = None) -> bytes:
    with (using or gpg()).open(str(path)) as stream:
        return stream.read()


@pytest.mark.parametrize(("key", "command"), [(LOCKED, PRINT_PASSPHRASE), (OPEN, None), (OPEN, "echo unused")])
def test_what_was_encrypted_comes_back(keyring: Keyring, tmp_path: Path, key: str, command: str | None) -> None:
    path = encrypt(tmp_path / "sealed", using=gpg(key, command))
    assert is_encrypted(path.read_bytes()[:16])
    assert CONTENT[:1000] not in path.read_bytes()
    assert decrypt(path, gpg(key, command)) == CONTENT
    encrypt(path, b"", gpg(key, command))
    assert decrypt(path, gpg(key, command)) == b""
    gpg(key, command).try_out()


def test_a_stream_that_is_closed_early_ends_gpg(keyring: Keyring, tmp_path: Path) -> None:
    path = encrypt(tmp_path / "sealed", random.Random(2).randbytes(20_000_000))
    with gpg().open(str(path)) as stream:
        assert stream.peek(8)[:8] == random.Random(2).randbytes(20_000_000)[:8]
    own = subprocess.run(["ps", "-o", "args=", "--ppid", str(os.getpid())], capture_output=True, text=True, check=True)
    assert str(path) not in own.stdout


def test_the_passphrase_is_in_no_argument_and_no_environment(keyring: Keyring, tmp_path: Path) -> None:
    programs = recording_gpg(tmp_path / "bin")
    path = encrypt(tmp_path / "sealed", using=gpg(path=f"{programs}:{PATH}"))
    assert decrypt(path, gpg(path=f"{programs}:{PATH}")) == CONTENT
    seen = (programs / "seen").read_text()
    assert "--decrypt" in seen
    assert PASSPHRASE not in seen
    assert PASSPHRASE.split(" ", maxsplit=1)[0] not in seen


@pytest.mark.parametrize("damage", ["flipped", "cut", "cut in its head"])
def test_damaged_data_are_never_read_to_a_quiet_end(keyring: Keyring, tmp_path: Path, damage: str) -> None:
    path = encrypt(tmp_path / "sealed")
    data = bytearray(path.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 1
    else:
        del data[len(data) // 2 if damage == "cut" else 20 :]
    path.write_bytes(data)
    with pytest.raises(DamagedMessage, match=f"cannot decrypt '{path}': damaged data"):
        decrypt(path)


@pytest.mark.parametrize(
    ("key", "path", "reason", "next_step"),
    [
        (None, PATH, "needs the option encryption_key_id", "Set encryption_key_id"),
        ("nobody@example.org", PATH, "'nobody@example.org': the key is not in the keyring", "gpg --import"),
        (EXPIRED, PATH, f"'{EXPIRED}': the key has expired", "gpg --import"),
        (OPEN, "/nonexistent", "gpg not found in '/nonexistent'", "Install GnuPG, or set path_prefix"),
    ],
)
def test_why_nothing_can_be_encrypted_is_told_with_the_next_step(
    keyring: Keyring, tmp_path: Path, key: str | None, path: str, reason: str, next_step: str
) -> None:
    with pytest.raises(EncryptionError) as caught:
        encrypt(tmp_path / "sealed", using=gpg(key, path=path))
    assert reason in caught.value.message
    assert next_step in caught.value.hint


@pytest.mark.parametrize(
    ("command", "reason", "next_step"),
    [
        ("echo wrong", "the passphrase for key [0-9A-F]{16} is wrong", "encryption_passphrase_command by hand"),
        (None, "needs a passphrase, and no command that prints it is configured", "Set encryption_passphrase_command"),
        ("echo hunter2 >&2; exit 3", "the command of encryption_passphrase_command ended with status 3$", "by hand"),
        ("echo '  '", "printed nothing: an empty passphrase$", "by hand"),
        ("echo hunter2; echo second", "printed something else than one line$", "by hand"),
    ],
)
def test_why_nothing_can_be_decrypted_is_told_with_the_next_step(
    keyring: Keyring, tmp_path: Path, command: str | None, reason: str, next_step: str
) -> None:
    path = encrypt(tmp_path / "sealed")
    keyring.forget_passphrases()
    with pytest.raises(EncryptionError, match=reason) as caught:
        decrypt(path, gpg(LOCKED, command))
    assert not isinstance(caught.value, DamagedMessage)
    assert next_step in caught.value.hint
    assert "hunter2" not in caught.value.message


def test_a_secret_key_that_is_missing_is_named(
    keyring: Keyring, public_keyring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = encrypt(tmp_path / "sealed")
    monkeypatch.setenv("GNUPGHOME", public_keyring.home)
    with pytest.raises(EncryptionError, match="key [0-9A-F]{16}, whose secret part is not in the keyring") as caught:
        decrypt(path)
    assert not isinstance(caught.value, DamagedMessage)
    assert "gpg --list-secret-keys" in caught.value.hint


def test_a_passphrase_command_that_hangs_is_ended(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    passphrase = Passphrase(f"echo x >> {mark}; exec sleep 600", patience=0.3)
    for _ in range(2):
        with pytest.raises(EncryptionError, match="did not end within 0.3 seconds"):
            passphrase.get()
    assert mark.read_text() == "x\n", "many files wait for it: a failure counts for all of them"


def test_the_passphrase_is_asked_for_once(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    passphrase = Passphrase(f"echo x >> {mark}; printf '\\n  a b\\n'")
    assert [passphrase.get(), passphrase.get()] == [b"a b", b"a b"]
    assert mark.read_text() == "x\n"


def test_a_full_disk_is_told_as_such(keyring: Keyring, tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    with small_disk(place, "1m"), pytest.raises(OSError, match="No space left") as caught:
        encrypt(place / "sealed")
    assert caught.value.errno == errno.ENOSPC
