"""sync-wals: what arrives is judged, published in groups and listed once; nothing is lost on bad days."""

import bz2
import gzip
import os
from pathlib import Path

import pytest

from barman.backup.complete import check_backup
from barman.catalog.backup_id import BackupId
from barman.catalog.backup_info import BackupStatus
from barman.catalog.wal_file import WalFile
from barman.errors import SyncError
from barman.fs import durable
from barman.report import MemoryReporter
from barman.sync.state import read_record
from barman.wal.quarantine import reason_of
from tests.support import needs
from tests.support.catalog_builder import add_backup
from tests.support.offline import run_here
from tests.support.passive import Nodes, segment, segment_name
from tests.support.wal_builder import MB
from tests.support.wal_files import HISTORY

BACKUP = "20261122T100000"
OTHER_CLUSTER = "7111111111111111111"


@pytest.fixture
def nodes(tmp_path: Path) -> Nodes:
    """A primary with a backup that the passive node has already, and three more segments that it has not."""
    nodes = Nodes(tmp_path)
    nodes.put_backup(BACKUP, 4)
    nodes.put_wal(5, 6, 7)
    nodes.catalog.ensure_directories()
    add_backup(nodes.catalog, BACKUP, begin=4, xlog_segment_size=MB, tablespaces=())
    nodes.tell()
    return nodes


def test_what_is_missing_arrives_once_with_the_times_of_the_primary(nodes: Nodes) -> None:
    assert nodes.sync_wals().lines == []
    assert nodes.archived() == {segment_name(number): segment(number) for number in range(4, 8)}
    assert nodes.lines() == list(nodes.primary.catalog.xlogdb.scan())
    assert os.stat(nodes.ours.wal_path(segment_name(5))).st_mtime == 1_700_000_000.25
    assert nodes.position() == segment_name(7)
    assert not os.path.exists(nodes.ours.sync_staging)
    assert read_record(nodes.ours).wals_at is not None
    nodes.open_door("exit 255")  # nothing is asked for a second time
    assert nodes.sync_wals().lines == []
    assert len(nodes.lines()) == 4


def test_history_labels_late_timelines_and_filled_holes_arrive_whatever_their_names(nodes: Nodes) -> None:
    nodes.put_wal(8)
    nodes.tell()
    nodes.sync_wals()
    late = {
        segment_name(9): segment(9),
        "00000002.history": HISTORY,
        f"{segment_name(7)}.00000028.backup": b"START WAL LOCATION: 0/700028 (file 000000010000000000000007)\n",
        segment_name(7, 2): segment(7, 2),
        f"{segment_name(10)}.partial": segment(10),
    }
    for name, content in sorted(late.items()):
        nodes.put_file(name, content)
    durable.remove([nodes.ours.wal_path(segment_name(6))])
    nodes.tell()
    assert nodes.sync_wals().lines == []
    assert nodes.archived() == {**{segment_name(n): segment(n) for n in (4, 5, 6, 7, 8)}, **late}
    assert len({line.name for line in nodes.lines()}) == 10


def test_a_foreign_file_is_set_aside_told_and_fetched_again_only_when_it_has_changed(nodes: Nodes) -> None:
    bad, short, damaged = segment_name(8), segment_name(9), segment_name(10)
    nodes.put_file(bad, segment(8, system_id=OTHER_CLUSTER))
    nodes.put_file(short, segment(9)[: MB // 2])
    nodes.put_file(damaged, gzip.compress(segment(10, fill=os.urandom(9000)))[:-20], compression="gzip")
    nodes.put_wal(11)
    nodes.tell()
    said = nodes.sync_wals()
    assert [text.partition("'")[2].partition("'")[0] for text in said.texts("error")] == [bad, short, damaged]
    assert sorted(nodes.archived()) == [segment_name(number) for number in (4, 5, 6, 7, 11)]
    refused = nodes.refused()
    assert [name.partition(".")[0] for name in refused] == [bad, short, damaged]
    assert OTHER_CLUSTER in (reason_of(os.path.join(nodes.ours.errors_directory, refused[0])) or "")
    assert nodes.position() is None, "the primary has to offer them again"
    assert "3 WAL files" in read_record(nodes.ours).error
    again = nodes.sync_wals()
    assert "3 WAL files of server main were refused before" in again.texts("error")[0]
    assert nodes.refused() == refused, "not set aside every minute"
    nodes.put_file(bad, segment(8), time=1_700_000_999.0)
    nodes.tell()
    assert "2 WAL files" in nodes.sync_wals().texts("error")[0]
    assert nodes.archived()[bad] == segment(8)


def test_what_cannot_be_judged_here_is_taken_by_its_size_and_the_method_is_told_by_content(nodes: Nodes) -> None:
    sealed, custom = b"\x85\x01\x8c\x03" + bytes(range(200)), b"custom" * 50
    nodes.put_file(segment_name(8), sealed, encryption="gpg")
    nodes.put_file(segment_name(9), custom, compression="custom")
    nodes.put_file(segment_name(10), gzip.compress(segment(10)))  # the index of the primary does not know
    nodes.put_file(segment_name(11), bz2.compress(segment(11)), compression="bzip2")
    nodes.put_file(segment_name(12), custom, compression="custom")
    path = Path(nodes.theirs.wal_path(segment_name(12)))
    path.write_bytes(custom[:-1])
    nodes.tell()
    said = nodes.sync_wals()
    lines = {line.name: (line.compression, line.encryption) for line in nodes.lines()}
    assert lines[segment_name(8)] == (None, "gpg")
    assert lines[segment_name(9)] == ("custom", None)
    assert lines[segment_name(10)] == ("gzip", None)
    assert lines[segment_name(11)] == ("bzip2", None)
    assert ["its size is 299, the primary says 300" in text for text in said.texts("error")] == [True]
    assert segment_name(12) not in lines


def test_another_compression_is_refused_with_a_hint_and_another_level_is_not(nodes: Nodes) -> None:
    nodes.configure_primary(compression="gzip", compression_level="9")
    nodes.tell()
    with pytest.raises(SyncError) as refusal:
        nodes.sync_wals()
    assert refusal.value.message == (
        "WAL synchronisation for server main failed with: Compression method on server main (gzip) does not match "
        "local compression method (None)"
    )
    assert "compression = gzip" in refusal.value.hint
    assert sorted(nodes.archived()) == []
    assert "Compression method" in read_record(nodes.ours).error
    nodes.configure(compression="gzip", compression_level="1")
    assert nodes.sync_wals().lines == []
    assert len(nodes.archived()) == 4


def test_a_file_that_vanishes_on_the_primary_loses_no_other(nodes: Nodes) -> None:
    durable.remove([nodes.theirs.wal_path(segment_name(6))])
    said = nodes.sync_wals()
    assert said.texts("warning") == [
        f"1 WAL files of server main have gone on the primary meanwhile: {segment_name(6)}"
    ]
    assert not said.failed
    assert sorted(nodes.archived()) == [segment_name(number) for number in (4, 5, 7)]


def test_a_connection_that_breaks_leaves_whole_files_archived_and_the_rest_for_the_next_run(nodes: Nodes) -> None:
    noise = {segment_name(number): segment(number, fill=os.urandom(MB - 100)) for number in range(8, 12)}
    for name, content in noise.items():
        nodes.put_file(name, content)
    nodes.tell()
    nodes.cut_door(5_000_000)
    with pytest.raises(SyncError, match="WAL synchronisation for server main failed: rsync"):
        nodes.sync_wals()
    some = nodes.archived()
    assert some
    assert len(some) < 8
    assert {line.name for line in nodes.lines()} == set(some)
    assert nodes.position() is None
    nodes.open_door()
    assert nodes.sync_wals().lines == []
    assert {name: nodes.archived()[name] for name in noise} == noise
    assert len(nodes.lines()) == 8


def test_a_name_that_a_killed_run_has_published_gets_its_one_line(nodes: Nodes) -> None:
    nodes.put_wal(8)
    nodes.tell()
    nodes.sync_wals()
    nodes.catalog.xlogdb.remove([segment_name(7)])
    assert len(nodes.lines()) == 4
    assert nodes.sync_wals().lines == []
    assert sorted(line.name for line in nodes.lines()) == [segment_name(number) for number in range(4, 9)]
    assert WalFile(segment_name(7), MB, 1_700_000_000.25) in nodes.lines()


def test_leftovers_of_a_killed_run_are_judged_anew_and_go(nodes: Nodes) -> None:
    staging = Path(nodes.ours.sync_staging, "0000000100000000")
    staging.mkdir(parents=True)
    (staging / f".{segment_name(5)}.Ab12Cd").write_bytes(b"rsync was killed")
    (staging / segment_name(99)).write_bytes(b"nobody offers it")
    (staging / segment_name(5)).write_bytes(segment(5, system_id=OTHER_CLUSTER))
    assert nodes.sync_wals().lines == []
    assert nodes.archived()[segment_name(5)] == segment(5)
    assert not staging.parent.exists()


def test_without_a_backup_here_nothing_is_copied_as_the_original_says(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path)
    nodes.put_backup(BACKUP, 4)
    nodes.tell()
    assert nodes.sync_wals().lines == [("warning", "No base backup for server main")]
    nodes.catalog.ensure_directories()
    add_backup(nodes.catalog, "20261122T110000", begin=7, xlog_segment_size=MB, tablespaces=())
    said = f"Skipping WAL synchronisation for server main: no available local backup for {segment_name(4)}"
    assert nodes.sync_wals().lines == [("warning", said)]
    assert nodes.archived() == {}
    nodes.put_wal(7)
    nodes.tell()
    assert nodes.sync_wals().lines == []
    assert list(nodes.archived()) == [segment_name(7)]


def test_a_staging_directory_on_another_file_system_is_no_hindrance(nodes: Nodes, tmp_path: Path) -> None:
    place = tmp_path / "mounted"
    place.mkdir()
    with needs.small_disk(place, "16m"):
        nodes.configure(wals_directory=str(place))
        nodes.catalog.ensure_directories()
        assert nodes.sync_wals().lines == []
        assert nodes.archived() == {segment_name(number): segment(number) for number in range(4, 8)}


def test_a_backup_that_waited_for_these_files_is_done_when_the_command_ends(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path)
    nodes.put_backup(BACKUP, 4)
    nodes.tell()
    nodes.sync_backup(BACKUP)
    assert nodes.catalog.backups.read(BackupId(BACKUP)).status == BackupStatus.WAITING_FOR_WALS
    done = run_here(tmp_path / "passive" / "barman.conf", tmp_path, "sync-wals", "main")
    assert (done.rc, done.out, done.err) == (0, "", "")
    assert nodes.catalog.backups.read(BackupId(BACKUP)).status == BackupStatus.DONE


def test_a_file_that_the_original_is_still_copying_fails_no_backup(tmp_path: Path) -> None:
    """It writes under the final name, under the lock of sync-wals."""
    nodes = Nodes(tmp_path)
    nodes.put_backup(BACKUP, 4)
    nodes.tell()
    nodes.sync_backup(BACKUP)
    path = nodes.ours.wal_path(segment_name(4))
    with nodes.catalog.locks.sync_wal():
        os.makedirs(os.path.dirname(path))
        Path(path).write_bytes(segment(4)[: MB // 2])
        said = MemoryReporter()
        assert check_backup(nodes.passive, BackupId(BACKUP), said).status == BackupStatus.WAITING_FOR_WALS
        assert not said.failed
    assert check_backup(nodes.passive, BackupId(BACKUP), said).status == BackupStatus.FAILED
