"""What is asked for and not done is said, on the command line as in the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fix_postgres import BarmanHome, Cluster


def test_options_that_are_passed_over_are_warned_of(
    newest_pg: Cluster, barman_home: BarmanHome, tmp_path: Path
) -> None:
    barman_home.add_server("pg", newest_pg, archiver="on")
    newest_pg.configure(archive_mode="on", archive_command=barman_home.accept_wal("pg"))
    newest_pg.restart()
    barman_home.run("switch-wal", "--force", "--archive", "pg").ok()
    done = barman_home.run("backup", "pg", "--wait", "-j", "2", "--no-manifest", "--reuse-backup").ok()
    assert "WARNING: --jobs: no effect on server pg with backup_method = postgres\n" in done.err
    assert "WARNING: --no-manifest has no effect on server pg" in done.err
    assert "WARNING: --reuse-backup has no effect on server pg" in done.err
    assert "WARNING: --wait-timeout has no effect without --wait\n" in (
        barman_home.run("backup", "pg", "--wait-timeout", "5").ok().err
    )

    options = ("--bwlimit", "9", "--no-retry", "--staging-path", str(tmp_path), "--combine-mode", "link")
    staging = ("--staging-wal-directory", str(tmp_path / "staged"))
    done = barman_home.run("restore", "pg", "latest", str(tmp_path / "restored"), *options, *staging).ok()
    assert "WARNING: --bwlimit, --retry-times: no effect, the restore is local\n" in done.err
    assert "WARNING: --staging-path, --combine-mode: no effect, nothing is staged" in done.err
    assert "WARNING: --staging-wal-directory has no effect without a recovery target" in done.err
    assert not (tmp_path / "staged").exists()


@pytest.mark.parametrize(
    ("options", "arguments", "text"),
    [
        (
            {"encryption": "gpg", "encryption_key_id": "k"},
            (),
            "Encryption is set as gpg, but backup_compression is unset",
        ),
    ],
)
def test_backups_that_could_not_be_restored_are_not_taken(
    newest_pg: Cluster, barman_home: BarmanHome, options: dict[str, str], arguments: tuple[str, ...], text: str
) -> None:
    barman_home.add_server("pg", newest_pg, archiver="on", **options)
    done = barman_home.run("backup", "pg", *arguments)
    assert done.rc == 1
    assert f"ERROR: {text}" in done.err
    assert "HINT: " in done.err
    assert not barman_home.path("pg", "base").exists()
