"""WAL in three formats, encrypted at last: a recovery reads through all of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from barman.catalog.wal_content import recognise_file
from tests.integration.test_restore_remote import promoted
from tests.support.fix_gpg import LOCKED, PRINT_PASSPHRASE, Keyring, files_with, fixture_all_keys, fixture_keyring
from tests.support.fix_postgres import BarmanHome, Cluster, ClusterFactory, wait_until
from tests.support.fix_sshd import USER, Sshd

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


def test_an_encrypted_backup_is_taken_and_restored_and_nothing_stays_in_the_clear(
    newest_pg: Cluster, pg_factory: ClusterFactory, barman_home: BarmanHome, keyring: Keyring, tmp_path: Path
) -> None:
    pg, options = newest_pg, {"backup_compression": "gzip", "backup_compression_format": "tar", **GPG}
    barman_home.add_server("pg", pg, archiver="on", compression="zstd", **options)
    pg.configure(archive_mode="on", archive_command=barman_home.accept_wal("pg"))
    pg.restart()
    pg.create_ledger()
    place = pg_factory.scratch() / "space"
    place.mkdir()
    shutil.chown(place, pg.data.stat().st_uid)
    pg.sql(f"CREATE TABLESPACE far LOCATION '{place}'")
    pg.sql("CREATE TABLE far_away TABLESPACE far AS SELECT generate_series(1, 1000) AS n")
    pg.insert(5, "before")
    barman_home.run("switch-wal", "--force", "--archive", "pg").ok()
    taken = barman_home.run("backup", "pg", "--wait").ok()
    assert "Encrypting backup using gpg encryption" in taken.out
    (backup,) = barman_home.path("pg", "base").iterdir()
    archives = sorted(path for path in (backup / "data").iterdir() if path.name != "backup_manifest")
    assert [path.name.split(".", 1)[1] for path in archives] == ["tar.gz.gpg"] * 2
    assert {path.stat().st_mode & 0o777 for path in archives} == {0o600}
    assert all(recognise_file(str(path)) == (None, "gpg") for path in archives)
    record = json.loads(barman_home.run("-f", "json", "show-backup", "pg", "latest").ok().out)["pg"]
    assert record["base_backup_information"]["encryption"] == "gpg"
    pg.insert(5, "after")
    wal = pg.switch_wal()
    wait_until((barman_home.path("pg", "incoming") / wal).exists, "the segment arrives")
    rows = pg.ledger()
    checked = barman_home.run("check", "pg")
    assert "encryption: OK (encryption test succeeded)" in checked.out
    assert "backup catalog" not in checked.out

    keyring.forget_passphrases()
    barman_home.add_server("pg", pg, archiver="on", **options | {"encryption_passphrase_command": "echo wrong"})
    refused = barman_home.run("restore", "pg", "latest", str(tmp_path / "refused"))
    assert refused.rc == 1
    assert "cannot be decrypted" in refused.err
    assert not (tmp_path / "refused").exists()
    failed = barman_home.run("backup", "pg")
    assert failed.rc == 1
    assert "the passphrase for key" in failed.err
    assert list(barman_home.path("pg", "base").iterdir()) == [backup], "what could not be restored is not begun"

    barman_home.add_server("pg", pg, archiver="on", compression="zstd", **options)
    pg.stop()
    moved = f"far:{tmp_path}/space"
    barman_home.run("restore", "pg", "latest", str(tmp_path / "restored"), "--tablespace", moved).ok()
    cluster = pg_factory.adopt(pg.version, tmp_path / "restored")
    wait_until(lambda: not cluster.value("SELECT pg_is_in_recovery()"), "the recovery ends")
    assert cluster.ledger() == rows
    assert cluster.value("SELECT sum(n) FROM far_away") == 500500
    cluster.stop()

    data = bytearray(archives[-1].read_bytes())
    data[len(data) // 2] ^= 1
    archives[-1].write_bytes(data)
    spoilt = barman_home.run("restore", "pg", "latest", str(tmp_path / "spoilt"), "--tablespace", moved + "2")
    assert spoilt.rc == 1
    assert not (tmp_path / "spoilt" / "global" / "pg_control").exists()


def test_an_encrypted_chain_is_restored_here_and_on_another_host_and_nothing_stays_in_the_clear(
    pg_factory: ClusterFactory, barman_home: BarmanHome, keyring: Keyring, sshd: Sshd, tmp_path: Path
) -> None:
    pg, secret = pg_factory.create("18", settings={"summarize_wal": "on"}), "a row that nobody else may read"
    options = {"backup_compression": "gzip", "backup_compression_format": "tar", "compression": "zstd", **GPG}
    barman_home.add_server("pg", pg, archiver="on", immediate_checkpoint="true", **options)
    pg.configure(archive_mode="on", archive_command=barman_home.accept_wal("pg"))
    pg.restart()
    pg.create_ledger()
    place = pg_factory.scratch() / "space"
    place.mkdir()
    shutil.chown(place, pg.data.stat().st_uid)
    pg.sql(f"CREATE TABLESPACE far LOCATION '{place}'")
    pg.sql("CREATE TABLE far_away TABLESPACE far AS SELECT generate_series(1, 20000) AS n")
    pg.insert(50, secret)
    barman_home.run("switch-wal", "--force", "--archive", "pg").ok()
    barman_home.run("backup", "pg", "--wait").ok()
    pg.insert(5, secret)
    barman_home.run("backup", "pg", "--wait", "--incremental", "latest").ok()
    pg.sql("UPDATE far_away SET n = 0 WHERE n = 7")
    pg.insert(5, secret)
    barman_home.run("backup", "pg", "--wait", "--incremental", "latest").ok()
    leaf, middle, full = barman_home.run("list-backups", "--minimal", "pg").ok().out.split()
    for backup in (leaf, middle, full):
        archives = list(barman_home.path("pg", "base", backup).rglob("*.tar*"))
        assert [recognise_file(str(path))[1] for path in archives] == ["gpg"] * 2
    rows = pg.ledger()
    pg.stop()

    keyring.forget_passphrases()
    barman_home.servers["pg"]["encryption_passphrase_command"] = "echo wrong"
    barman_home.write()
    refused = barman_home.run("restore", "pg", leaf, str(tmp_path / "refused"))
    assert (refused.rc, (tmp_path / "refused").exists()) == (1, False)
    assert "cannot be decrypted" in refused.err
    barman_home.servers["pg"]["encryption_passphrase_command"] = PRINT_PASSPHRASE
    barman_home.write()

    host, stage = pg_factory.scratch(), pg_factory.scratch()
    shutil.chown(host, USER)
    there = ("--remote-ssh-command", sshd.command, "--staging-path", str(stage))
    for destination, more in ((tmp_path / "here", ()), (host / "there", there)):
        moved = f"far:{destination}-far"
        done = barman_home.run("restore", "pg", leaf, str(destination), "--tablespace", moved, *more).ok()
        assert "Start combining backup via pg_combinebackup" in done.out
        cluster = promoted(pg_factory.adopt(pg.version, destination))
        assert cluster.ledger() == rows
        assert cluster.value("SELECT sum(n) FROM far_away") == 200010000 - 7
        cluster.stop()
        shutil.rmtree(destination)
        shutil.rmtree(f"{destination}-far")
    # The full backup alone, sent over there.
    done = barman_home.run(
        "restore", "pg", full, str(host / "full"), "--tablespace", f"far:{host}/full-far", *there, "--target-immediate"
    ).ok()
    assert (host / "full" / "global" / "pg_control").exists()
    shutil.rmtree(host / "full")
    assert list(stage.iterdir()) == []
    for directory in (barman_home.directory, stage, tmp_path):
        assert files_with(directory, secret.encode()) == []
