"""WAL that is encrypted in the archive: in, out, twice, and on the days when gpg cannot."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
from pathlib import Path

import pytest

from barman.catalog.wal_content import recognise_file
from barman.encryption.openpgp import EncryptionError
from barman.report import MemoryReporter
from barman.server.filters import configured_filters
from barman.server.server import Server
from barman.wal.archiver import ArchiveResult, archive_wal
from barman.wal.get_wal import Delivery, UnusableArchive, WalSource, send_series, send_wal
from barman.wal.put_wal import put_wal
from tests.support.fix_gpg import EXPIRED, LOCKED, OPEN, PRINT_PASSPHRASE, Keyring, files_with
from tests.support.tar_builder import archive as tar_of
from tests.support.wal_files import HISTORY, LABEL, SEGMENT_SIZE, drop, make_server, segment, segment_name

A, B, C = (segment_name(number) for number in (0x20, 0x21, 0x22))
LABEL_NAME = f"{A}.00000028.backup"


def server_of(home: Path, key: str = LOCKED, command: str = PRINT_PASSPHRASE, **options: str) -> Server:
    options = {"encryption": "gpg", "encryption_key_id": key, **options}
    if command:
        options["encryption_passphrase_command"] = command
    return make_server(home, **options)


def archive(server: Server) -> tuple[ArchiveResult, MemoryReporter]:
    reporter = MemoryReporter()
    return archive_wal(server, reporter), reporter


def incoming(server: Server) -> str:
    return server.catalog.layout.incoming_directory


def stored(server: Server, name: str) -> str:
    return server.catalog.layout.wal_path(name)


def fetch(server: Server, name: str, delivery: Delivery | None = None) -> bytes:
    source = WalSource(
        server.name, server.catalog.layout, server.catalog.wals, configured_filters(server.config)
    )  # fmt: skip
    sink = io.BytesIO()
    send_wal(source, name, delivery or Delivery(), lambda _path: sink)
    return sink.getvalue()


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "pigz", "custom"])
def test_wal_goes_in_encrypted_and_comes_out_plain(keyring: Keyring, tmp_path: Path, compression: str) -> None:
    filters = {"custom_compression_filter": "gzip -1", "custom_decompression_filter": "gzip -dc"}
    more = {**filters, "custom_compression_magic": "0x1f8b08"} if compression == "custom" else {}
    server = server_of(tmp_path, compression=compression, **more)
    contents = {
        A: drop(incoming(server), A),
        f"{B}.partial": drop(incoming(server), f"{B}.partial"),
        LABEL_NAME: drop(incoming(server), LABEL_NAME, LABEL),
        "00000002.history": drop(incoming(server), "00000002.history", HISTORY),
    }
    Path(incoming(server), A).chmod(0o640)
    moment = os.stat(os.path.join(incoming(server), A)).st_mtime
    result, reporter = archive(server)
    assert not reporter.failed
    assert result.archived == 4
    name = None if compression == "none" else compression
    assert [(file.name, file.compression, file.encryption) for file in server.catalog.xlogdb.scan()] == [
        (A, name, "gpg"),
        (LABEL_NAME, name, "gpg"),
        (f"{B}.partial", name, "gpg"),
        ("00000002.history", name, None),
    ]
    for file in (A, LABEL_NAME, f"{B}.partial"):
        assert recognise_file(stored(server, file)) == (None, "gpg")
    assert stat.S_IMODE(os.stat(stored(server, A)).st_mode) == 0o640
    assert os.stat(stored(server, A)).st_mtime == moment
    assert files_with(tmp_path, contents[A][40:1040]) == []
    assert {file: fetch(server, file) for file in contents} == contents
    history = server.catalog.wals.history(2)
    assert history is not None
    assert history.is_ancestor(1)
    assert files_with(tmp_path, contents[A][40:1040]) == [], "nothing decrypted stays"


def test_what_comes_compressed_is_encrypted_as_it_is(keyring: Keyring, tmp_path: Path) -> None:
    server = server_of(tmp_path, compression="gzip")
    drop(incoming(server), A, gzip.compress(segment(A), mtime=5))
    assert archive(server)[0].archived == 1
    assert [(file.compression, file.encryption) for file in server.catalog.xlogdb.scan()] == [("gzip", "gpg")]
    assert fetch(server, A) == segment(A)
    assert fetch(server, A, Delivery(as_stored=True)) == gzip.compress(segment(A), mtime=5)
    assert fetch(server, A, Delivery("gzip")) == gzip.compress(segment(A), mtime=5)


def test_a_series_of_encrypted_segments_is_sent(keyring: Keyring, tmp_path: Path) -> None:
    server = server_of(tmp_path)
    for name in (A, B):
        drop(incoming(server), name)
    archive(server)
    layout, output = server.catalog.layout, io.BytesIO()
    send_series(
        WalSource("main", layout, server.catalog.wals, configured_filters(server.config)), A, 5, Delivery(), output
    )
    assert segment(A) in output.getvalue()
    assert segment(B) in output.getvalue()
    assert f"barman-wal {B} {SEGMENT_SIZE}\n".encode() in output.getvalue()


def test_duplicates_are_known_without_the_secret_key(
    keyring: Keyring, public_keyring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GNUPGHOME", public_keyring.home)
    server = server_of(tmp_path, command="")
    for name in (A, B, C):
        drop(incoming(server), name)
    assert archive(server)[0].archived == 3
    before = Path(stored(server, A)).read_bytes()

    drop(incoming(server), A)
    drop(incoming(server), B, gzip.compress(segment(B)))
    drop(incoming(server), C, segment(C, seed=9))
    result, reporter = archive(server)
    assert (result.identical, result.duplicates, result.archived) == (2, 1, 0)
    assert f"\tError: {C} is already present in server main. File moved to errors directory." in reporter.texts()
    assert Path(stored(server, A)).read_bytes() == before
    assert os.listdir(incoming(server)) == []

    reporter = MemoryReporter()
    again = put_wal(server, io.BytesIO(tar_of({A: segment(A)})), reporter)
    assert (again.stored, again.refused) == ([A], [])
    refused = put_wal(server, io.BytesIO(tar_of({A: segment(A, seed=9)})), reporter)
    assert (refused.stored, refused.refused) == ([], [A])
    assert os.listdir(incoming(server)) == []


def test_a_duplicate_that_cannot_be_compared_stays_in_its_queue(
    keyring: Keyring, public_keyring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = server_of(tmp_path)
    drop(incoming(server), A)
    archive(server)
    digests = Path(server.catalog.layout.wal_digests)
    digests.write_text(digests.read_text().replace(hashlib.sha256(segment(A)).hexdigest(), "0" * 64)[:-9] + "\n")
    monkeypatch.setenv("GNUPGHOME", public_keyring.home)
    put_wal(server, io.BytesIO(tar_of({A: segment(A)})), MemoryReporter())
    result, reporter = archive(server)
    assert (result.left, result.duplicates, result.identical) == (1, 0, 0)
    assert "it cannot be compared with the archived file of its name" in reporter.texts("error")[0]
    assert "gpg --import" in reporter.texts("error")[0]
    assert os.listdir(incoming(server)) == [A]

    monkeypatch.setenv("GNUPGHOME", keyring.home)
    assert archive(server)[0].identical == 1, "with the key it is decrypted"
    assert os.listdir(incoming(server)) == []


def test_a_damaged_archived_file_does_not_swallow_the_sound_one(keyring: Keyring, tmp_path: Path) -> None:
    server = server_of(tmp_path)
    drop(incoming(server), A)
    archive(server)
    path = Path(stored(server, A))
    path.write_bytes(path.read_bytes()[:-5000])
    drop(incoming(server), A)
    result, _ = archive(server)
    assert (result.duplicates, result.identical) == (1, 0)
    kept = [name for name in os.listdir(server.catalog.layout.errors_directory) if not name.startswith(".")]
    assert [name[:24] for name in kept] == [A]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"key": EXPIRED}, "the key has expired"),
        ({"key": "nobody@example.org"}, "the key is not in the keyring"),
        ({"key": ""}, "needs the option encryption_key_id"),
    ],
)
def test_what_cannot_be_encrypted_stays_in_its_queue(
    keyring: Keyring, tmp_path: Path, options: dict[str, str], reason: str
) -> None:
    server = server_of(tmp_path, **options)
    for name in (A, B):
        drop(incoming(server), name)
    with pytest.raises(EncryptionError, match=reason) as caught:
        archive(server)
    assert caught.value.hint
    assert sorted(os.listdir(incoming(server))) == [A, B]
    assert [name for _, _, names in os.walk(server.catalog.layout.wals_directory) for name in names] == []


def test_a_gpg_that_is_killed_leaves_the_queue_and_the_archive_as_they_were(keyring: Keyring, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "gpg").write_text("#!/bin/sh\nhead -c 300000 >/dev/null\nhead -c 1000 /dev/urandom\nkill -9 $$\n")
    (programs / "gpg").chmod(0o755)
    server = server_of(tmp_path, path_prefix=str(programs))
    drop(incoming(server), A)
    with pytest.raises(EncryptionError, match="signal 9"):
        archive(server)
    assert os.listdir(incoming(server)) == [A]
    assert [name for _, _, names in os.walk(server.catalog.layout.wals_directory) for name in names] == []


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("echo wrong", "the passphrase for key"),
        ("", "no command that prints it is configured"),
        ("exit 7", "ended with status 7"),
    ],
)
def test_what_cannot_be_decrypted_is_no_end_of_the_wal(
    keyring: Keyring, tmp_path: Path, command: str, reason: str
) -> None:
    server = server_of(tmp_path, command=command)
    drop(incoming(server), A)
    archive(server)
    keyring.forget_passphrases()
    with pytest.raises(UnusableArchive, match=reason) as caught:
        fetch(server, A)
    assert caught.value.exit_code == 4
    assert "encryption_passphrase_command" in caught.value.hint


def test_a_damaged_encrypted_segment_is_not_sent(keyring: Keyring, tmp_path: Path) -> None:
    server = server_of(tmp_path, OPEN, "")
    drop(incoming(server), A)
    archive(server)
    path = Path(stored(server, A))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(UnusableArchive, match="damaged data"):
        fetch(server, A)


def test_an_encrypted_arrival_is_set_aside(keyring: Keyring, tmp_path: Path) -> None:
    server = server_of(tmp_path)
    drop(incoming(server), A)
    archive(server)
    sealed = Path(stored(server, A)).read_bytes()
    drop(incoming(server), B, sealed)
    result, _ = archive(server)
    assert (result.refused, result.archived) == (1, 0)
    assert os.listdir(incoming(server)) == []


def test_the_index_is_rebuilt_from_encrypted_files(keyring: Keyring, tmp_path: Path) -> None:
    server = server_of(tmp_path, compression="gzip")
    drop(incoming(server), A)
    drop(incoming(server), "00000002.history", HISTORY)
    archive(server)
    server.catalog.xlogdb.rebuild(None, configured_filters(server.config))
    assert [(file.name, file.compression, file.encryption) for file in server.catalog.xlogdb.scan()] == [
        (A, None, "gpg"),
        ("00000002.history", "gzip", None),
    ]


def test_digests_are_kept_for_the_newest_files_only(tmp_path: Path) -> None:
    from barman.catalog.wal_digests import _KEPT, _LONGEST_LINE, WalDigest, WalDigests

    digests = WalDigests(str(tmp_path / "meta" / "digests"))
    assert digests.find(A) is None
    digests.remember([WalDigest(A, "0" * 64, "0" * 64)])
    lines = b"".join(WalDigest(segment_name(number), "c" * 64, "d" * 64).line() for number in range(300))
    Path(digests.path).write_bytes(lines * (2 * _KEPT * _LONGEST_LINE // len(lines) + 1))
    digests.remember([WalDigest(A, "a" * 64, "b" * 64)])
    assert len(Path(digests.path).read_bytes().splitlines()) == _KEPT + 1
    assert digests.find(A) == WalDigest(A, "a" * 64, "b" * 64)
    assert digests.find(segment_name(299)) is not None
    assert digests.find("0" * 24) is None
