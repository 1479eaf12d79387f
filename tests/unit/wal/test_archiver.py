"""archive-wal on real files: what enters, what does not, and what is said about it."""

from __future__ import annotations

import gzip
import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from barman.catalog.identity import Identity
from barman.clock import Deadline
from barman.compression.codec import CodecError, CustomFilters, decoded, find_codec
from barman.encryption.openpgp import EncryptionError
from barman.errors import HookAborted, WalError
from barman.fs.lock import FileLock
from barman.report import MemoryReporter
from barman.server.server import Server
from barman.wal import quarantine
from barman.wal.archiver import ArchiveResult, archive_wal
from barman.wal.commit import Prepared, listed_names
from barman.wal.source import Found
from tests.support.needs import ordinary_permissions, small_disk
from tests.support.wal_files import (
    HISTORY,
    LABEL,
    SEGMENT_SIZE,
    SYSTEM_ID,
    drop,
    make_server,
    segment,
    segment_name,
)

A, B, C = (segment_name(number) for number in (0x20, 0x21, 0x22))


def archive(server: Server, *, quiet: bool = False) -> tuple[ArchiveResult, MemoryReporter]:
    reporter = MemoryReporter()
    return archive_wal(server, reporter, quiet=quiet), reporter


def incoming(server: Server) -> str:
    return server.catalog.layout.incoming_directory


def stored(server: Server, name: str, custom: CustomFilters | None = None) -> bytes:
    with decoded(server.catalog.layout.wal_path(name), custom) as stream:
        return stream.read()


def errors(server: Server) -> list[str]:
    return sorted(name for name in os.listdir(server.catalog.layout.errors_directory) if not name.startswith("."))


def index(server: Server) -> list[str]:
    return [file.name for file in server.catalog.xlogdb.scan()]


def test_files_of_every_kind_are_archived_and_reported_in_order(tmp_path: Path) -> None:
    server = make_server(tmp_path)
    contents = {name: drop(incoming(server), name) for name in (A, f"{B}.partial")}
    contents["00000002.history"] = drop(incoming(server), "00000002.history", HISTORY)
    contents[f"{A}.00000028.backup"] = drop(incoming(server), f"{A}.00000028.backup", LABEL)
    result, reporter = archive(server)
    names = [A, f"{A}.00000028.backup", f"{B}.partial", "00000002.history"]
    assert reporter.texts() == [
        "Processing xlog segments from file archival for main",
        *(f"\t{name}" for name in names),
    ]
    assert not reporter.failed
    assert index(server) == names
    assert {name: stored(server, name) for name in names} == contents
    assert (result.archived, result.bytes_received) == (4, sum(map(len, contents.values())))
    assert os.listdir(incoming(server)) == []


def test_size_time_and_mode_of_the_source_are_kept(tmp_path: Path) -> None:
    for compression, suffix in (("none", "plain"), ("zstd", "zstd")):
        home = tmp_path / suffix
        home.mkdir()
        server = make_server(home, compression=compression)
        drop(incoming(server), A)
        os.chmod(os.path.join(incoming(server), A), 0o640)
        os.utime(os.path.join(incoming(server), A), (1_700_000_000.25, 1_700_000_000.25))
        archive(server)
        facts = os.stat(server.catalog.layout.wal_path(A))
        assert (facts.st_mtime, facts.st_mode & 0o7777) == (1_700_000_000.25, 0o640)
        (line,) = server.catalog.xlogdb.scan()
        assert (line.size, line.time) == (facts.st_size, 1_700_000_000.25)
        assert line.compression == (None if suffix == "plain" else "zstd")


@pytest.mark.parametrize("compression", ["gzip", "pygzip", "pigz", "bzip2", "pybzip2", "xz", "zstd", "lz4", "snappy"])
def test_every_compression_is_stored_and_named_as_configured(compression: str, tmp_path: Path) -> None:
    server = make_server(tmp_path, compression=compression, compression_level="low")
    contents = {name: drop(incoming(server), name) for name in (A, B, C)}
    archive(server)
    assert {name: stored(server, name) for name in contents} == contents
    assert {line.compression for line in server.catalog.xlogdb.scan()} == {compression}
    for name in contents:
        drop(incoming(server), name)
    assert archive(server)[0].identical == 3


def test_custom_filters_are_used(tmp_path: Path) -> None:
    filters = {
        "custom_compression_filter": "(printf MYZ1; gzip -1 -c)",
        "custom_decompression_filter": "tail -c +5 | gzip -dc",
        "custom_compression_magic": "0x4d595a31",
    }
    server = make_server(tmp_path, compression="custom", **filters)
    data = drop(incoming(server), A)
    archive(server)
    assert stored(server, A, CustomFilters.from_options(*filters.values())) == data
    drop(incoming(server), A)
    assert archive(server)[0].identical == 1


def test_a_compressed_arrival_is_checked_inside_and_stored_as_it_is(tmp_path: Path) -> None:
    server = make_server(tmp_path, compression="zstd")
    arrived = gzip.compress(segment(A), 1)
    drop(incoming(server), A, arrived)
    drop(incoming(server), B, gzip.compress(segment(B)[:-1], 1))
    drop(incoming(server), C, gzip.compress(segment(C), 1)[:-9])
    result, _ = archive(server)
    assert (result.archived, result.refused) == (1, 2)
    assert Path(server.catalog.layout.wal_path(A)).read_bytes() == arrived
    assert [line.compression for line in server.catalog.xlogdb.scan()] == ["gzip"]
    assert [name[:24] for name in errors(server)] == [B, C]


def test_the_same_content_again_goes_away_quietly_whatever_its_time_and_compression(tmp_path: Path) -> None:
    server = make_server(tmp_path, compression="zstd")
    drop(incoming(server), A)
    archive(server)
    drop(incoming(server), A, gzip.compress(segment(A)), age=60)
    result, reporter = archive(server)
    assert (result.identical, result.archived) == (1, 0)
    assert not reporter.failed
    assert os.listdir(incoming(server)) == errors(server) == []
    assert index(server) == [A]


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_another_content_with_the_same_size_and_time_is_refused_loudly(compression: str, tmp_path: Path) -> None:
    server = make_server(tmp_path, compression=compression)
    first = drop(incoming(server), A)
    archive(server)
    second = drop(incoming(server), A, segment(A, seed=1))
    if compression == "none":
        times = os.stat(server.catalog.layout.wal_path(A)).st_mtime
        os.utime(os.path.join(incoming(server), A), (times, times))
    result, reporter = archive(server)
    assert result.duplicates == 1
    assert reporter.failed
    assert f"\tError: {A} is already present in server main. File moved to errors directory." in reporter.texts("info")
    assert "another content" in reporter.texts("error")[0]
    assert stored(server, A) == first
    (name,) = errors(server)
    assert name.startswith(f"{A}.")
    assert name.endswith("Z.duplicate")
    path = os.path.join(server.catalog.layout.errors_directory, name)
    assert Path(path).read_bytes() == second
    assert "another content" in (quarantine.reason_of(path) or "")


def test_files_refused_in_the_same_second_do_not_overwrite_each_other(tmp_path: Path) -> None:
    server = make_server(tmp_path)
    drop(incoming(server), A)
    archive(server)
    for seed in (1, 2, 3):
        drop(incoming(server), A, segment(A, seed=seed))
        archive(server)
    names = errors(server)
    assert len(names) == 3
    read = {Path(server.catalog.layout.errors_directory, name).read_bytes() for name in names}
    assert read == {segment(A, seed=seed) for seed in (1, 2, 3)}


def unsound() -> dict[str, bytes]:
    return {
        "empty": b"",
        "one byte": b"\0",
        "short": segment(A)[: SEGMENT_SIZE // 2],
        "long": segment(A) + b"\0" * 8192,
        "zeros": bytes(SEGMENT_SIZE),
        "other position": segment(B),
        "other timeline": segment(segment_name(0x20, timeline=7)),
        "text": b"hello" * 1000,
        "empty inside": gzip.compress(b""),
        "zeros inside": gzip.compress(bytes(SEGMENT_SIZE)),
    }


@pytest.mark.parametrize("kind", unsound())
def test_a_file_that_is_not_what_its_name_says_never_enters(kind: str, tmp_path: Path) -> None:
    server = make_server(tmp_path)
    data = drop(incoming(server), A, unsound()[kind])
    sound = drop(incoming(server), B)
    result, reporter = archive(server)
    assert (result.archived, result.refused) == (1, 1)
    assert reporter.failed
    assert reporter.texts("error")[0].startswith(f"WAL file '{A}' of server main was not archived: ")
    assert index(server) == [B]
    assert stored(server, B) == sound
    (name,) = errors(server)
    assert name.endswith("Z.unknown")
    assert Path(server.catalog.layout.errors_directory, name).read_bytes() == data
    drop(incoming(server), A)
    assert archive(server)[0].archived == 1


def test_a_small_file_that_decodes_into_terabytes_is_refused_at_once(tmp_path: Path) -> None:
    server = make_server(tmp_path)
    zeros = gzip.compress(bytes(64 << 20))
    drop(incoming(server), A, gzip.compress(segment(A)) + zeros * 200)
    begin = time.monotonic()
    result, reporter = archive(server)
    assert time.monotonic() - begin < 5
    assert result.refused == 1
    assert "longer than it should be, a segment has 1048576" in reporter.texts("error")[0]


def test_history_and_label_files_are_validated(tmp_path: Path) -> None:
    server = make_server(tmp_path)
    drop(incoming(server), "00000002.history", b"")
    drop(incoming(server), "00000003.history", b"no history\n")
    drop(incoming(server), "00000004.history", HISTORY)
    drop(incoming(server), f"{A}.00000028.backup", b"no label")
    result, _ = archive(server)
    assert (result.archived, result.refused) == (1, 3)
    assert index(server) == ["00000004.history"]


def test_wal_of_another_cluster_is_refused_when_the_identity_is_known(tmp_path: Path) -> None:
    server = make_server(tmp_path)
    server.catalog.identity.write(Identity(str(SYSTEM_ID), "15"))
    drop(incoming(server), A, segment(A, system_id=1))
    drop(incoming(server), B)
    result, reporter = archive(server)
    assert (result.archived, result.refused) == (1, 1)
    assert "system identifier" in reporter.texts("error")[0]


def test_without_an_identity_the_first_sound_segment_tells_the_cluster(tmp_path: Path) -> None:
    server = make_server(tmp_path)
    drop(incoming(server), A, b"junk")
    drop(incoming(server), B, segment(B, system_id=1))
    drop(incoming(server), C)
    assert (archive(server)[0].archived, index(server)) == (1, [B])


def test_a_damaged_identity_stops_no_wal(tmp_path: Path) -> None:
    server = make_server(tmp_path)
    Path(server.catalog.layout.identity).write_text("{")
    drop(incoming(server), A)
    result, reporter = archive(server)
    assert result.archived == 1
    assert "without comparing" in reporter.texts("warning")[0]


def test_a_short_file_that_was_just_written_is_left_for_the_next_run(tmp_path: Path) -> None:
    server = make_server(tmp_path)
    drop(incoming(server), A, segment(A)[:100_000], age=0)
    result, reporter = archive(server)
    assert (result.left, result.refused) == (1, 0)
    assert not reporter.failed
    assert "left in its queue" in reporter.texts("warning")[0]
    drop(incoming(server), A)
    assert archive(server)[0].archived == 1


def test_odd_names_directories_and_links_are_set_aside(tmp_path: Path) -> None:
    server = make_server(tmp_path)
    drop(incoming(server), "junk", b"x")
    Path(incoming(server), A).mkdir()
    Path(incoming(server), A, "inside").touch()
    os.symlink("/etc/passwd", os.path.join(incoming(server), B))
    result, reporter = archive(server)
    assert result.unknown == 3
    assert not reporter.failed
    text = "Some unknown objects have been found while processing xlog segments for main. "
    assert reporter.texts("info")[-4:] == [text + "Objects moved to errors directory:", f"\t{A}", f"\t{B}", "\tjunk"]
    assert len(errors(server)) == 3
    assert os.listdir(incoming(server)) == []


def test_temporaries_stay_invisible(tmp_path: Path) -> None:
    server = make_server(tmp_path)
    drop(incoming(server), f".{A}.1.tmp", b"x")
    drop(incoming(server), "x.tmp", b"x")
    assert archive(server)[1].texts() == [
        "Processing xlog segments from file archival for main",
        "\tno file found",
    ]
    assert archive(server, quiet=True)[1].texts() == []


def test_streaming_comes_first_and_shares_the_archive_with_incoming(tmp_path: Path) -> None:
    server = make_server(tmp_path, streaming_archiver="on", slot_name="x")
    queue = server.catalog.layout.streaming_directory
    for name in (A, B, f"{C}.partial"):
        drop(queue, name)
    drop(incoming(server), A)
    result, reporter = archive(server)
    assert reporter.texts() == [
        "Processing xlog segments from streaming for main",
        f"\t{A}",
        f"\t{B}",
        "Processing xlog segments from file archival for main",
    ]
    assert (result.archived, result.identical) == (2, 1)
    assert os.listdir(queue) == [f"{C}.partial"]
    assert index(server) == [A, B]


def test_the_newest_streamed_segment_is_archived_once_and_stays_until_a_later_one(tmp_path: Path) -> None:
    server = make_server(tmp_path, archiver="off", streaming_archiver="on", slot_name="x")
    queue = server.catalog.layout.streaming_directory
    drop(queue, A)
    assert archive(server)[0].archived == 1
    assert archive(server)[1].texts()[-1] == "\tno file found"
    assert os.listdir(queue) == [A]
    drop(queue, B)
    result, reporter = archive(server)
    assert (result.archived, result.identical) == (1, 1)
    assert [line for line in reporter.texts() if line.startswith("\t")] == [f"\t{B}"]
    assert os.listdir(queue) == [B]
    assert index(server) == [A, B]


@pytest.mark.parametrize("limit", [1, 2])
def test_a_batch_is_announced_and_the_rest_waits(limit: int, tmp_path: Path) -> None:
    server = make_server(tmp_path, archiver_batch_size=str(limit))
    for name in (A, B, C):
        drop(incoming(server), name)
    result, reporter = archive(server)
    assert reporter.texts()[0].endswith(f"for main (batch size: {limit})")
    assert result.archived == limit
    assert len(os.listdir(incoming(server))) == 3 - limit


def test_a_busy_lock_is_no_error(tmp_path: Path) -> None:
    server = make_server(tmp_path)
    drop(incoming(server), A)
    with FileLock(server.catalog.layout.lock("archive-wal")):
        result, reporter = archive(server)
    assert result.busy
    assert reporter.lines == [
        ("info", "Another archive-wal process is already running on server main. Skipping to the next server")
    ]
    assert os.listdir(incoming(server)) == [A]


def test_who_must_miss_nothing_waits_for_another_archiver_and_takes_all_that_waits(tmp_path: Path) -> None:
    server = make_server(tmp_path, archiver_batch_size="1")
    for name in (A, B, C):
        drop(incoming(server), name)
    other = server.catalog.locks.archive_wal()
    other.acquire()
    assert archive_wal(server, MemoryReporter(), whole=Deadline(0.05)).busy
    threading.Timer(0.2, other.release).start()
    result = archive_wal(server, MemoryReporter(), whole=Deadline(30))
    assert (result.busy, result.archived) == (False, 3)
    assert index(server) == [A, B, C]


def test_a_file_that_cannot_be_read_stops_no_other(tmp_path: Path) -> None:
    server = make_server(tmp_path)
    for name in (A, B):
        drop(incoming(server), name)
    os.chmod(os.path.join(incoming(server), A), 0)
    with ordinary_permissions():
        result, reporter = archive(server)
    assert (result.archived, result.left) == (1, 1)
    assert "cannot be read" in reporter.texts("error")[0]


def test_a_missing_codec_leaves_everything_in_its_queue(tmp_path: Path) -> None:
    filters = {"custom_compression_filter": "false", "custom_decompression_filter": "cat"}
    server = make_server(tmp_path, compression="custom", **filters)
    drop(incoming(server), A)
    with pytest.raises(CodecError, match="'false' failed"):
        archive(server)
    assert os.listdir(incoming(server)) == [A]
    assert os.listdir(server.catalog.layout.hash_directory(A)) == []
    assert index(server) == []


def test_a_writable_source_is_copied_so_that_nobody_can_change_the_archive(tmp_path: Path) -> None:
    server = make_server(tmp_path)
    data = drop(incoming(server), A)
    path = os.path.join(incoming(server), A)
    os.chmod(path, 0o666)
    with open(path, "r+b") as writer:
        archive(server)
        writer.write(b"overwritten")
    assert stored(server, A) == data


def test_a_plain_file_of_ours_is_moved_without_copying_it(tmp_path: Path) -> None:
    server = make_server(tmp_path)
    drop(incoming(server), A)
    before = os.stat(os.path.join(incoming(server), A)).st_ino
    archive(server)
    assert os.stat(server.catalog.layout.wal_path(A)).st_ino == before


def test_many_files_of_several_logs_come_through_in_one_run(tmp_path: Path) -> None:
    server = make_server(tmp_path, compression="lz4", compression_level="low")
    names = [segment_name(number) for number in range(4060, 4130)]
    for name in names:
        drop(incoming(server), name)
    result, _ = archive(server)
    assert result.archived == len(names)
    assert index(server) == names
    assert listed_names(server.catalog, names) == set(names)


@pytest.fixture(name="small_disk")
def _small_disk(tmp_path: Path):  # type: ignore[no-untyped-def]  # a generator of a path
    place = tmp_path / "disk"
    place.mkdir()
    with small_disk(place, "5500k"):
        yield place


def test_what_cannot_go_to_another_file_system_stays_and_stops_nothing(small_disk: Path, tmp_path: Path) -> None:
    server = make_server(tmp_path, errors_directory=str(small_disk))
    os.mkfifo(os.path.join(incoming(server), A))
    os.symlink("/etc/passwd", os.path.join(incoming(server), B))
    drop(incoming(server), C)
    drop(incoming(server), "junk", b"x")
    result, reporter = archive(server)
    assert (result.archived, result.unknown, result.left) == (1, 2, 1)
    assert reporter.failed
    assert os.listdir(incoming(server)) == [A]
    moved = {name.split(".")[0]: os.path.join(small_disk, name) for name in errors(server)}
    assert os.readlink(moved[B]) == "/etc/passwd"
    assert Path(moved["junk"]).read_bytes() == b"x"


def test_a_full_disk_is_named_and_the_next_run_goes_on(small_disk: Path, tmp_path: Path) -> None:
    server = make_server(tmp_path, wals_directory=str(small_disk))
    names = [segment_name(number) for number in range(8)]
    contents = {name: drop(incoming(server), name) for name in names}
    with pytest.raises(WalError, match="No space left on device") as caught:
        archive(server)
    assert "still in its queue" in caught.value.hint
    done = set(names) - set(os.listdir(incoming(server)))
    assert 0 < len(done) < 8
    assert set(index(server)) == done
    assert all(stored(server, name) == contents[name] for name in done)
    subprocess.run(["mount", "-o", "remount,size=50m", small_disk], check=True)
    archive(server)
    assert index(server) == names
    assert os.listdir(incoming(server)) == []


def test_a_read_only_archive_is_named_and_the_source_stays(small_disk: Path, tmp_path: Path) -> None:
    server = make_server(tmp_path, wals_directory=str(small_disk))
    drop(incoming(server), A)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(WalError, match="Read-only file system"):
        archive(server)
    assert os.listdir(incoming(server)) == [A]
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    assert archive(server)[0].archived == 1


def test_a_codec_for_every_configured_level_exists() -> None:
    for level in ("low", "medium", "high", 3, -7):
        assert find_codec("zstd", level=level).name == "zstd"


class RecordingHooks:
    """Real hooks run scripts; these remember what the scripts would have been told."""

    def __init__(self, server: Server, abort_at: str = "") -> None:
        self.server = server
        self.abort_at = abort_at
        self.calls: list[tuple[str, str, str]] = []

    def before(self, found: Found) -> None:
        if found.name == self.abort_at:
            raise HookAborted("the script said so")
        self.calls.append(("before", found.name, str(self.server.catalog.wals.exists(found.name))))

    def after(self, item: Prepared, error: str) -> None:
        self.calls.append(("after", item.found.name, error or "; ".join(item.reasons)))

    def failed(self, found: Found, error: str) -> None:
        self.calls.append(("failed", found.name, error))


def test_hooks_run_around_every_file_in_turn(tmp_path: Path) -> None:
    server = make_server(tmp_path)
    drop(incoming(server), A)
    drop(incoming(server), B, b"junk")
    hooks = RecordingHooks(server)
    archive_wal(server, MemoryReporter(), hooks=hooks)
    assert hooks.calls[:3] == [("before", A, "False"), ("after", A, ""), ("before", B, "False")]
    assert hooks.calls[3][:2] == ("after", B)
    assert "too few" in hooks.calls[3][2]


def test_a_hook_that_aborts_leaves_this_and_later_files_queued(tmp_path: Path) -> None:
    server = make_server(tmp_path)
    for name in (A, B, C):
        drop(incoming(server), name)
    drop(incoming(server), "junk", b"x")
    reporter = MemoryReporter()
    archive_wal(server, reporter, hooks=RecordingHooks(server, abort_at=B))
    assert index(server) == [A]
    assert sorted(os.listdir(incoming(server))) == [B, C, "junk"]
    assert not reporter.failed


def test_wal_that_should_be_encrypted_is_never_archived_in_the_clear(tmp_path: Path) -> None:
    server = make_server(tmp_path, encryption="gpg", encryption_key_id="nobody@example.org")
    drop(incoming(server), A)
    with pytest.raises(EncryptionError, match="cannot encrypt for key 'nobody@example.org'|gpg not found"):
        archive(server)
    assert os.listdir(incoming(server)) == [A]
