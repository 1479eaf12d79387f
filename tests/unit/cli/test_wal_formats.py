"""WAL in formats of other programs, by the commands: in, out, indexed anew, and judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fix_gpg import LOCKED, PASSPHRASE, PRINT_PASSPHRASE, Keyring, fixture_all_keys, fixture_keyring
from tests.support.offline import OfflineHome
from tests.support.wal_files import HISTORY, drop, segment, segment_name

__all__ = ["fixture_all_keys", "fixture_keyring"]

A, B = segment_name(0x20), segment_name(0x21)
# Two bytes before everything: no format that is built in.
FILTERS = {"custom_compression_filter": "{ printf '\\001\\377'; cat; }", "custom_decompression_filter": "tail -c +3"}
GPG = {"encryption": "gpg", "encryption_key_id": LOCKED, "encryption_passphrase_command": PRINT_PASSPHRASE}


@pytest.mark.parametrize(
    ("options", "archived", "rebuilt"),
    [
        ({"compression": "snappy"}, ("snappy", "None"), ("snappy", "None")),
        (
            {"compression": "custom", **FILTERS, "custom_compression_magic": "0x01ff"},
            ("custom", "None"),
            ("custom", "None"),
        ),
        ({"compression": "custom", **FILTERS}, ("custom", "None"), ("custom", "None")),
        ({"compression": "custom", **FILTERS, **GPG}, ("custom", "gpg"), ("None", "gpg")),
        ({"compression": "snappy", **GPG}, ("snappy", "gpg"), ("None", "gpg")),
    ],
)
def test_wal_of_every_format_is_archived_sent_indexed_and_judged(
    keyring: Keyring,
    tmp_path: Path,
    options: dict[str, str],
    archived: tuple[str, str],
    rebuilt: tuple[str, str],
) -> None:
    home = OfflineHome(tmp_path, **options)
    layout = home.catalog.layout
    for name in (A, B):
        drop(layout.incoming_directory, name)
    drop(layout.incoming_directory, "00000002.history", HISTORY)
    ran = home.run("archive-wal", "main")
    assert ran.rc == 0, ran.said

    def listed() -> dict[str, tuple[str, str]]:
        lines = Path(layout.xlogdb).read_text().splitlines()
        return {line.split("\t")[0]: (line.split("\t")[3], line.split("\t")[4]) for line in lines}

    assert (listed()[A], listed()[B]) == (archived, archived)
    for name in (A, B):
        assert Path(layout.wal_path(name)).read_bytes() != segment(name)
        ran = home.run("get-wal", "main", name, "-o", str(tmp_path))
        assert ran.rc == 0, ran.said
        assert (tmp_path / name).read_bytes() == segment(name)
    assert home.run("get-wal", "main", "00000002.history", "-o", str(tmp_path)).rc == 0
    assert (tmp_path / "00000002.history").read_bytes() == HISTORY

    drop(layout.incoming_directory, A)
    assert home.run("archive-wal", "main").rc == 0, "a duplicate is known by its content"
    assert not any(Path(layout.incoming_directory).iterdir())
    assert home.run("rebuild-xlogdb", "main").rc == 0
    assert (listed()[A], listed()[B]) == (rebuilt, rebuilt)
    assert "compression settings: OK" in home.run("check", "main").out


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"compression": "custom"}, "compression settings: FAILED (compression = custom needs the option"),
        (
            {"compression": "custom", "custom_compression_filter": "cat"},
            "compression settings: FAILED (compression = custom needs the option custom_decompression_filter)",
        ),
        ({"encryption": "gpg"}, "encryption: FAILED (Encryption is set as gpg, but encryption_key_id is unset)"),
        (GPG, "encryption: FAILED (Encryption is set as gpg, but backup_compression is unset)"),
        (
            {**GPG, "backup_compression": "gzip"},
            "encryption: FAILED (Encryption is set as gpg, but backup_compression_format != tar)",
        ),
        (
            {**GPG, "backup_compression": "gzip", "backup_compression_format": "tar"},
            "encryption: OK (encryption test succeeded)",
        ),
        (
            {
                **GPG,
                "backup_compression": "gzip",
                "backup_compression_format": "tar",
                "encryption_passphrase_command": "echo wrong",
            },
            "encryption: FAILED (encryption test failed. Check the log file for more details: ",
        ),
        (
            {
                **GPG,
                "backup_compression": "gzip",
                "backup_compression_format": "tar",
                "encryption_key_id": "nobody@example.org",
            },
            "key is not in the keyring",
        ),
    ],
)
def test_check_says_what_keeps_wal_from_being_stored_or_read(
    keyring: Keyring, tmp_path: Path, options: dict[str, str], line: str
) -> None:
    home = OfflineHome(tmp_path, **options)
    keyring.forget_passphrases()
    assert line in home.run("check", "main").out


def test_archiving_ends_with_the_next_step_when_a_filter_or_a_key_is_missing(keyring: Keyring, tmp_path: Path) -> None:
    for number, (options, said) in enumerate(
        [
            (
                {"compression": "custom", "custom_compression_filter": "cat"},
                "custom_decompression_filter option is required",
            ),
            ({"compression": "custom", **FILTERS, "custom_compression_filter": "false"}, "'false' failed on"),
            ({**GPG, "encryption_key_id": "nobody@example.org"}, "gpg --list-keys nobody@example.org"),
        ]
    ):
        (tmp_path / str(number)).mkdir()
        home = OfflineHome(tmp_path / str(number), **options)
        drop(home.catalog.layout.incoming_directory, A)
        ran = home.run("archive-wal", "main")
        assert ran.rc == 1
        assert said in ran.err
        assert list(Path(home.catalog.layout.incoming_directory).iterdir()) != []
        assert not Path(home.catalog.layout.wal_path(A)).exists()


def test_a_passphrase_is_in_no_output_and_no_log(keyring: Keyring, tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_text(PASSPHRASE)
    command = {"encryption_passphrase_command": f"cat {tmp_path}/passphrase"}
    home = OfflineHome(tmp_path, **GPG | command, compression="gzip")
    drop(home.catalog.layout.incoming_directory, A)
    assert home.run("archive-wal", "main").rc == 0
    assert home.run("get-wal", "main", A, "-o", str(tmp_path)).rc == 0
    for command in (["diagnose"], ["show-servers", "main"], ["-f", "json", "show-servers", "main"], ["check", "main"]):
        ran = home.run(*command)
        assert PASSPHRASE not in ran.out + ran.err
    assert PASSPHRASE not in home.log_file.read_text()
