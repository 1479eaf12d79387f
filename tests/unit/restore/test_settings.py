"""The settings of a cluster on another host are made from what the backup has, and written there."""

from barman.postgres.recovery_settings import RecoverySettings
from barman.postgres.version import PgVersion
from barman.report import MemoryReporter
from barman.restore.step import WriteSettings
from barman.restore.steps.settings import write_settings
from barman.restore.workbench import Workbench
from barman.transport.host import local_host

SETTINGS = RecoverySettings(restore_command="false")


def written(backup, destination, *, version=150018, file="postgresql.auto.conf"):
    destination.mkdir(exist_ok=True)
    bench = Workbench(MemoryReporter(), host=local_host())
    write_settings(WriteSettings(str(backup), str(destination), PgVersion(version), file, SETTINGS), bench)
    return bench


def test_what_the_backup_includes_is_neutralised_at_the_destination(tmp_path):
    backup, destination = tmp_path / "backup", tmp_path / "destination"
    (backup / "conf.d").mkdir(parents=True)
    (destination / "conf.d").mkdir(parents=True)
    (backup / "postgresql.conf").write_text(
        f"include_dir = 'conf.d'\ninclude = '{destination}/more.conf'\narchive_command = 'cp %p /old'\n"
    )
    (backup / "postgresql.conf").chmod(0o640)
    (backup / "conf.d" / "a.conf").write_text("primary_conninfo = 'host=old'\n")
    (backup / "more.conf").write_text("recovery_target_name = 'old'\n")
    (backup / "pg_hba.conf").write_text("")
    bench = written(backup, destination)
    main = destination / "postgresql.conf"
    assert "archive_command = false\n" in main.read_text()
    assert main.stat().st_mode & 0o777 == 0o640
    assert (destination / "postgresql.conf.origin").read_text() == (backup / "postgresql.conf").read_text()
    assert (destination / "conf.d" / "a.conf").read_text().startswith("#BARMAN#primary_conninfo")
    assert (destination / "more.conf").read_text().startswith("#BARMAN#recovery_target_name")
    assert "restore_command = 'false'\n" in (destination / "postgresql.auto.conf").read_text()
    assert "archive_command" not in (destination / "postgresql.auto.conf").read_text()
    assert (destination / "recovery.signal").exists()
    assert bench.missing_files == ["postgresql.auto.conf", "pg_ident.conf"]
    assert (backup / "conf.d" / "a.conf").read_text() == "primary_conninfo = 'host=old'\n"


def test_files_of_this_host_are_not_taken_for_those_of_the_other(tmp_path):
    backup, destination = tmp_path / "backup", tmp_path / "destination"
    backup.mkdir()
    (tmp_path / "etc.conf").write_text("primary_conninfo = 'host=mine'\n")
    (backup / "postgresql.conf").symlink_to(tmp_path / "etc.conf")
    bench = written(backup, destination)
    assert "primary_conninfo = ''" in (destination / "postgresql.auto.conf").read_text()
    assert "postgresql.conf" in bench.missing_files
    assert (tmp_path / "etc.conf").read_text() == "primary_conninfo = 'host=mine'\n"
    assert not (destination / "postgresql.conf").exists()


def test_a_recovery_file_of_another_life_is_not_gone_on_with(tmp_path):
    backup, destination = tmp_path / "backup", tmp_path / "destination"
    backup.mkdir()
    (backup / "postgresql.conf").write_text("")
    (backup / "recovery.conf").write_text("standby_mode = 'on'\n")
    written(backup, destination, version=110000, file="recovery.conf")
    assert "standby_mode" not in (destination / "recovery.conf").read_text()
    assert "restore_command = 'false'\n" in (destination / "recovery.conf").read_text()
