"""WAL in three formats, encrypted at last: a recovery reads through all of them."""

from __future__ import annotations

from pathlib import Path

from tests.support.fix_gpg import LOCKED, PRINT_PASSPHRASE, Keyring, files_with, fixture_all_keys, fixture_keyring
from tests.support.fix_postgres import BarmanHome, Cluster, ClusterFactory, wait_until

__all__ = ["fixture_all_keys", "fixture_keyring"]

CUSTOM = {
    "custom_compression_filter": "{ printf '\\001\\377'; gzip -1; }",
    "custom_decompression_filter": "tail -c +3 | gzip -dc",
    "custom_compression_magic": "0x01ff",
}
GPG = {"encryption": "gpg", "encryption_key_id": LOCKED, "encryption_passphrase_command": PRINT_PASSPHRASE}


def test_a_recovery_reads_custom_snappy_and_encrypted_wal(
    newest_pg: Cluster, pg_factory: ClusterFactory, barman_home: BarmanHome, keyring: Keyring, tmp_path: Path
) -> None:
    pg, secret = newest_pg, "a row that nobody else may read"
    barman_home.add_server("pg", pg, archiver="on", compression="custom", **CUSTOM)
    pg.configure(archive_mode="on", archive_command=barman_home.accept_wal("pg"))
    pg.restart()
    pg.create_ledger()
    barman_home.run("switch-wal", "--force", "--archive", "pg").ok()
    barman_home.run("backup", "pg", "--wait").ok()
    for options in (
        {"compression": "custom"},
        {"compression": "snappy"},
        {"compression": "snappy", **GPG},
        {"compression": "none", **GPG},
    ):
        barman_home.add_server("pg", pg, archiver="on", **CUSTOM, **options)
        pg.insert(2, secret if "encryption" in options else "a row")
        wal = pg.switch_wal()
        wait_until((barman_home.path("pg", "incoming") / wal).exists, "the segment arrives")
        barman_home.run("archive-wal", "pg").ok()
    rows = pg.ledger()
    index = barman_home.path("pg", "wals", "pg-xlog.db").read_text().splitlines()
    assert {("custom", "None"), ("snappy", "None"), ("snappy", "gpg"), ("None", "gpg")} <= {
        (line.split("\t")[3], line.split("\t")[4]) for line in index
    }
    pg.stop()

    wrong = {"encryption_passphrase_command": "echo wrong"}
    keyring.forget_passphrases()
    barman_home.add_server("pg", pg, archiver="on", **CUSTOM, **GPG | wrong)
    refused = barman_home.run("restore", "pg", "latest", str(tmp_path / "refused"))
    assert refused.rc == 1
    assert "the passphrase for key" in refused.err
    assert not (tmp_path / "refused").exists()

    barman_home.add_server("pg", pg, archiver="on", **CUSTOM, **GPG)
    destination = tmp_path / "restored"
    barman_home.run("restore", "pg", "latest", str(destination)).ok()
    cluster = pg_factory.adopt(pg.version, destination)
    wait_until(lambda: not cluster.value("SELECT pg_is_in_recovery()"), "the recovery ends")
    assert cluster.ledger() == rows
    assert files_with(barman_home.path("pg", "wals"), secret.encode()) == []
    assert files_with(barman_home.path("pg", "meta"), secret.encode()) == []
