"""put-wal on streams of friends and enemies: what is acknowledged is stored, and nothing else ever is."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from barman.catalog.identity import Identity
from barman.report import MemoryReporter
from barman.server.server import Server
from barman.wal.archiver import archive_wal
from barman.wal.put_wal import PutWalError, PutWalResult, put_wal
from barman.wal.quarantine import reason_of
from barman.wal.tar_stream import PatientStream
from tests.support.tar_builder import archive, as_tarfile_writes, claimed, member, pax, sums
from tests.support.wal_files import HISTORY, LABEL, SYSTEM_ID, make_server, segment, segment_name

NAME = segment_name(5)
OTHER = segment_name(6)
DATA = segment(NAME)


class Place:
    """A server to send to."""

    def __init__(self, home: Path, **options: str) -> None:
        self.server: Server = make_server(home, **options)
        self.layout = self.server.catalog.layout
        self.reporter = MemoryReporter()
        self.answers: list[str] = []

    def put(self, stream: bytes) -> PutWalResult:
        return put_wal(
            self.server, io.BytesIO(stream), self.reporter, caller=" (SSH host: 10.0.0.1)",
            answer=self.answers.append,
        )  # fmt: skip

    def refuses(self, stream: bytes, message: str) -> None:
        before = self.everything()
        with pytest.raises(PutWalError) as caught:
            self.put(stream)
        assert message in caught.value.message
        assert self.everything() == before

    def everything(self) -> dict[str, bytes]:
        """Every file below the home, hidden ones too."""
        return {
            os.path.join(directory, name): Path(directory, name).read_bytes()
            for directory, _, names in os.walk(os.path.dirname(self.layout.backup_directory))
            for name in names
        }

    def incoming(self) -> dict[str, bytes]:
        return {entry.name: entry.read_bytes() for entry in Path(self.layout.incoming_directory).iterdir()}

    def errors(self) -> list[str]:
        return sorted(entry.name for entry in Path(self.layout.errors_directory).iterdir() if entry.name[0] != ".")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize("write", [archive, as_tarfile_writes, lambda files: archive(files, algorithm="md5")])
def test_what_clients_send_is_stored_under_its_name(place: Place, write: Callable[[dict[str, bytes]], bytes]) -> None:
    files = {NAME: DATA, "00000002.history": HISTORY}
    assert place.put(write(files)).stored == list(files)
    assert place.incoming() == files
    assert place.answers == []


def test_a_stream_without_files_is_no_error(place: Place) -> None:
    assert place.put(bytes(1024)).stored == []


def test_times_are_kept_and_modes_are_not(place: Place) -> None:
    place.put(as_tarfile_writes({NAME: DATA}))
    facts = os.stat(os.path.join(place.layout.incoming_directory, NAME))
    assert facts.st_mtime == 1700000000.25
    assert facts.st_mode & 0o133 == 0


def test_a_client_that_asks_gets_an_answer_for_every_file(place: Place) -> None:
    place.put(archive({NAME: DATA, OTHER: segment(OTHER)}, confirm=True))
    assert [line.rsplit(" ", 1)[0] for line in place.answers] == [f"put-wal stored {NAME}", f"put-wal stored {OTHER}"]


def test_confirmed_files_stay_stored_when_the_rest_is_lost(place: Place) -> None:
    stream = archive({NAME: DATA, OTHER: segment(OTHER)}, confirm=True)
    with pytest.raises(PutWalError, match="unexpected end of data"):
        place.put(stream[: len(stream) - 700000])
    assert place.incoming() == {NAME: DATA}
    assert len(place.answers) == 1


def test_checksums_may_come_first(place: Place) -> None:
    place.put(sums({NAME: DATA}) + member(f"./{NAME}", DATA) + bytes(1024))
    assert place.incoming() == {NAME: DATA}


# -- the same again, and something else under the same name


def test_the_same_again_is_success_and_stored_once(place: Place) -> None:
    for _ in range(3):
        assert place.put(archive({NAME: DATA})).stored == [NAME]
    assert place.incoming() == {NAME: DATA}
    assert place.errors() == []


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_the_same_content_compressed_is_the_same(place: Place, compress: Callable[[bytes], bytes]) -> None:
    place.put(archive({NAME: DATA}))
    assert place.put(archive({NAME: compress(DATA)})).stored == [NAME]
    assert place.incoming() == {NAME: DATA}


@pytest.mark.parametrize("archived", [False, True], ids=["waiting", "archived"])
def test_another_content_under_a_known_name_is_refused_loudly_and_kept_once(place: Place, archived: bool) -> None:
    place.put(archive({NAME: DATA}))
    if archived:
        archive_wal(place.server, MemoryReporter())
    for _ in range(3):
        result = place.put(archive({NAME: segment(NAME, seed=1)}, confirm=True))
        assert (result.stored, result.refused) == ([], [NAME])
    assert place.reporter.failed
    assert any("another content" in text for _, text in place.reporter.lines)
    assert place.answers[0].startswith(f"put-wal refused {NAME}")
    (kept,) = place.errors()
    assert kept.endswith(".duplicate")
    assert Path(place.layout.errors_directory, kept).read_bytes() == segment(NAME, seed=1)
    stored = place.layout.wal_path(NAME) if archived else os.path.join(place.layout.incoming_directory, NAME)
    assert Path(stored).read_bytes() == DATA


def test_refused_files_cannot_fill_the_disk(place: Place) -> None:
    place.put(archive({NAME: DATA}))
    for seed in range(1, 30):
        assert place.put(archive({NAME: segment(NAME, seed=seed)})).refused == [NAME]
    assert len(place.errors()) <= 10


def test_refused_files_of_many_names_cannot_fill_the_disk_either(place: Place) -> None:
    place.put(archive({NAME: DATA}))
    errors = Path(place.layout.errors_directory)
    huge = errors / "huge.20261122T101010Z.unknown"
    with open(huge, "wb") as file:
        file.truncate(4 << 30)
    assert place.put(archive({OTHER: segment(NAME)})).refused == [OTHER]
    assert "its content was not kept" in place.reporter.lines[-1][1]
    assert place.errors() == [huge.name]
    huge.unlink()
    for number in range(200):
        (errors / f"{number}.20261122T101010Z.unknown").touch()
    assert place.put(archive({OTHER: segment(NAME)})).refused == [OTHER]
    assert len(place.errors()) == 200


def test_what_is_archived_is_not_stored_again(place: Place) -> None:
    place.put(archive({NAME: DATA}))
    archive_wal(place.server, MemoryReporter())
    assert place.put(archive({NAME: DATA})).stored == [NAME]
    assert place.incoming() == {}


def test_what_is_archived_without_an_index_line_is_stored_again_so_that_the_archiver_heals_the_index(
    place: Place,
) -> None:
    place.put(archive({NAME: DATA}))
    archive_wal(place.server, MemoryReporter())
    Path(place.layout.xlogdb).write_bytes(b"")
    place.put(archive({NAME: DATA}))
    archive_wal(place.server, MemoryReporter())
    assert [line.name for line in place.server.catalog.xlogdb.scan()] == [NAME]


# -- unsound files


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        (NAME, b"", "empty"),
        (NAME, DATA[:-8192], "size"),
        (NAME, DATA + b"\0" * 8192, "size"),
        (NAME, bytes(len(DATA)), "zeros"),
        (NAME, segment(OTHER), "position"),
        (NAME, gzip.compress(DATA)[:-9], "cut short|end before"),
        (NAME, gzip.compress(segment(OTHER)), "position"),
        (NAME, b"\x1f\x8b\x08 nonsense", "damaged|end before"),
        ("00000002.history", b"nonsense", "histor|line"),
        (f"{NAME}.00000028.backup", b"nonsense", "backup history"),
    ],
)
def test_what_is_not_what_its_name_says_is_set_aside(place: Place, name: str, data: bytes, reason: str) -> None:
    result = place.put(archive({name: data, OTHER: segment(OTHER)}))
    assert (result.stored, result.refused) == ([OTHER], [name])
    assert place.reporter.failed
    (kept,) = place.errors()
    assert kept.startswith(f"{name}.")
    told = reason_of(os.path.join(place.layout.errors_directory, kept)) or ""
    assert any(part in told for part in reason.split("|")), told


def test_the_wal_of_another_cluster_is_refused(place: Place) -> None:
    place.server.catalog.identity.write(Identity(str(SYSTEM_ID), "15"))
    assert place.put(archive({NAME: segment(NAME, system_id=42)})).refused == [NAME]
    assert place.put(archive({NAME: DATA})).stored == [NAME]


def test_before_the_first_backup_the_first_cluster_that_sends_is_the_one(place: Place) -> None:
    place.put(archive({NAME: DATA}))
    assert place.put(archive({OTHER: segment(OTHER, system_id=42)})).refused == [OTHER]


def test_two_clusters_in_one_stream_are_never_both_taken(place: Place) -> None:
    for confirm in (False, True):
        files = {segment_name(40 + confirm): segment(segment_name(40 + confirm)), OTHER: segment(OTHER, system_id=42)}
        result = place.put(archive(files, confirm=confirm))
        assert (result.stored, result.refused) == ([segment_name(40 + confirm)], [OTHER])


def test_before_the_first_backup_what_is_archived_tells_the_cluster(place: Place) -> None:
    place.put(archive({NAME: DATA}))
    archive_wal(place.server, MemoryReporter())
    assert place.incoming() == {}
    assert place.put(archive({OTHER: segment(OTHER, system_id=42)})).refused == [OTHER]
    assert "system identifier 42, not" in place.reporter.lines[-1][1]


LARGER = segment("000000010000000000000002", size=2 << 20)
"""Sound by itself: of a cluster with segments twice as large."""


@pytest.mark.parametrize("evidence", ["waiting", "archived", "compressed", "backup"])
def test_wal_of_another_segment_size_is_refused_set_aside_and_refused_by_the_archiver_too(
    tmp_path: Path, evidence: str
) -> None:
    place = Place(tmp_path, **({"compression": "gzip"} if evidence == "compressed" else {}))
    if evidence == "backup":
        record = Path(place.layout.backup_info("20261122T101010"))
        record.write_text("status=DONE\nxlog_segment_size=1048576\n")
        # A record that was begun before the server was asked has the default.
        Path(place.layout.backup_info("20261122T111111")).write_text("status=FAILED\nxlog_segment_size=16777216\n")
        place.server.catalog.identity.write(Identity(str(SYSTEM_ID), "15"))
    else:
        place.put(archive({NAME: DATA}))
        if evidence != "waiting":
            archive_wal(place.server, MemoryReporter())
    name = "000000010000000000000002"
    for data in (LARGER, gzip.compress(LARGER)):
        assert place.put(archive({name: data})).refused == [name]
        assert "its segment size is 2097152, that of the server is 1048576" in place.reporter.lines[-1][1]
    assert len(place.errors()) == 2
    archive_wal(place.server, MemoryReporter())
    (kept, *_) = place.errors()
    Path(place.layout.errors_directory, kept).rename(Path(place.layout.incoming_directory, name))
    again = MemoryReporter()
    archive_wal(place.server, again)
    assert any("its segment size is 2097152" in text for _, text in again.lines)
    assert not os.path.exists(place.layout.wal_path(name))
    assert place.put(archive({OTHER: segment(OTHER)})).stored == [OTHER]


def test_an_unreadable_identity_stops_no_wal_and_segment_sizes_are_compared_all_the_same(place: Place) -> None:
    place.put(archive({NAME: DATA}))
    Path(place.layout.identity).write_text("{")
    assert place.put(archive({OTHER: segment(OTHER)})).stored == [OTHER]
    assert any("without comparing its system identifier" in text for _, text in place.reporter.lines)
    assert place.put(archive({"000000010000000000000002": LARGER})).refused == ["000000010000000000000002"]


def test_labels_and_unfinished_segments_are_taken(place: Place) -> None:
    files = {f"{NAME}.00000028.backup": LABEL, f"{NAME}.partial": DATA}
    assert place.put(archive(files)).stored == list(files)


# -- hostile streams


@pytest.mark.parametrize(
    "name",
    ["../../evil", "/etc/passwd", "a/b", "..", ".", ".ssh", "x", "0" * 23, NAME + "\n", NAME + ".tmp", NAME[:-1],
     "00000001000000000000000G", f"{NAME}.zst", "identity.json", "SHA256SUMS.", "\u0660" * 24],
)  # fmt: skip
def test_a_name_that_is_none_of_a_wal_file_ends_everything(place: Place, name: str) -> None:
    place.refuses(member(name, DATA) + sums({name: DATA}) + bytes(1024), "")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE,
             tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE, tarfile.GNUTYPE_LONGNAME, b"Z"],
)  # fmt: skip
def test_only_regular_files_are_taken(place: Place, kind: bytes) -> None:
    place.refuses(member(NAME, b"", kind=kind) + bytes(1024), "Unsupported file type")


def test_a_path_in_an_extended_header_or_a_prefix_is_a_path_too(place: Place) -> None:
    place.refuses(member(NAME, DATA, pax={"path": f"../{NAME}"}) + bytes(1024), "Unsupported filename")
    block = bytearray(member(NAME, DATA)[:512])
    block[345:352] = b"../../x"
    total = sum(block[:148]) + 8 * 32 + sum(block[156:])
    block[148:156] = f"{total:06o}\0 ".encode()
    place.refuses(bytes(block) + DATA + bytes(1024), "Unsupported filename")


def test_a_file_larger_than_any_segment_is_refused_at_its_header(place: Place) -> None:
    for size in (2 << 30, 1 << 62):
        info = tarfile.TarInfo(NAME)
        info.size = size
        place.refuses(info.tobuf(tarfile.GNU_FORMAT), "too large")
    info = tarfile.TarInfo("00000002.history")
    info.size = 1 << 24
    place.refuses(info.tobuf(), "too large")


def test_sizes_that_an_extended_header_claims_are_sizes_too(place: Place) -> None:
    for size in ("99999999999999999999", "-1", "1e9", "0x10", "", "²"):
        place.refuses(pax({"size": size}) + member(NAME, DATA) + bytes(1024), "invalid header")
    place.refuses(pax({"size": str(1 << 60)}) + member(NAME, DATA) + bytes(1024), "too large")
    place.refuses(claimed("PaxHeaders/x", 1 << 40, kind=tarfile.XHDTYPE), "too long")
    place.refuses(claimed("PaxHeaders/x", 1 << 40, kind=tarfile.XGLTYPE), "too long")
    place.refuses(
        pax({"path": "../x"}, kind=tarfile.XGLTYPE) + member(NAME, DATA) + bytes(1024), "Unsupported filename"
    )


@pytest.mark.parametrize("records", [{"GNU.sparse.major": "1"}, {"GNU.sparse.map": "0,1"}, {"GNU.sparse.name": NAME}])
def test_sparse_files_are_refused_in_the_form_of_extended_headers_too(place: Place, records: dict[str, str]) -> None:
    place.refuses(pax(records) + archive({NAME: DATA}), "sparse")


def test_records_that_are_none_are_refused(place: Place) -> None:
    for data in (b"x", b"5 a=b", b"99 a=b\n", b"0 a=b\n", b"4 a=b\n", b"7 abcd\n", b"9999999 a=b\n", b"-6 a=b\n"):
        header = claimed("PaxHeaders/x", len(data), kind=tarfile.XHDTYPE)
        place.refuses(header + data + bytes(-len(data) % 512) + archive({NAME: DATA}), "")


def test_a_time_from_the_future_or_out_of_all_bounds_is_not_believed(place: Place) -> None:
    """It would become the time of a line of the index, which other programs print."""
    before = time.time()
    for number, mtime in enumerate((2e12, 7**24)):
        name = segment_name(60 + number)
        data = claimed(name, len(DATA), mtime=mtime) + segment(name)
        place.put(data + sums({name: segment(name)}) + bytes(1024))
        assert before - 1 <= os.stat(os.path.join(place.layout.incoming_directory, name)).st_mtime <= time.time() + 1
    for record in ("1e30", "nan", "-5", "inf", "yesterday"):
        place.refuses(pax({"mtime": record}) + archive({NAME: DATA}), "invalid header")


class Endless(io.RawIOBase):
    """A stream that repeats one piece for ever; how much of it was taken is counted."""

    def __init__(self, *pieces: bytes, repeated: Callable[[int], bytes]) -> None:
        self._pieces: Iterator[bytes] = iter((*pieces,))
        self._repeated = repeated
        self._number = 0
        self._rest = b""
        self.taken = 0

    def read(self, size: int = -1) -> bytes:
        while not self._rest:
            piece = next(self._pieces, b"")
            if not piece:
                piece, self._number = self._repeated(self._number), self._number + 1
            self._rest = piece
        data, self._rest = self._rest[:size], self._rest[size:]
        self.taken += len(data)
        return data


def empty_history(number: int) -> bytes:
    return archive({f"{number + 2:08X}.history": b""}, confirm=True)[:-1024]


@pytest.mark.parametrize(
    ("repeated", "message"),
    [
        (lambda number: pax({f"key{number}": "x" * 30000}, kind=tarfile.XGLTYPE), "extended headers"),
        (lambda number: pax({"mtime": str(number)}), "extended headers"),
        (lambda number: member("SHA256SUMS", b""), "more checksum files than files"),
        (lambda number: sums({f"{number}-{line}": b"" for line in range(500)}), "more checksums than files"),
        (lambda number: member("SHA256SUMS", b"x\n" * 30000), "are no checksums"),
        (lambda number: member(f"{number + 2:08X}.history", HISTORY), "wait for their checksums"),
        (empty_history, "64 files were refused"),
        (lambda number: b"\xff" * 512, "invalid header"),
    ],
    ids=["global-headers", "headers", "sums", "names", "lines", "files", "refused", "noise"],
)
def test_a_stream_without_an_end_is_not_read_for_ever(
    place: Place, repeated: Callable[[int], bytes], message: str
) -> None:
    stream = Endless(repeated=repeated)
    with pytest.raises(PutWalError, match=message):
        put_wal(place.server, stream, place.reporter)
    assert stream.taken < 20 << 20
    assert place.incoming() == {}
    assert len(place.reporter.lines) < 100


def test_what_follows_the_end_mark_is_not_read_for_ever(place: Place) -> None:
    stream = Endless(archive({NAME: DATA}), repeated=lambda number: bytes(65536))
    assert put_wal(place.server, stream, place.reporter).stored == [NAME]
    assert stream.taken < 8 << 20


def test_a_sender_that_falls_silent_is_left(place: Place) -> None:
    reader, writer = os.pipe()
    try:
        os.write(writer, archive({NAME: DATA})[:5000])
        with pytest.raises(PutWalError, match="nothing came for 0.2 seconds in put-wal for server 'main'"):
            put_wal(place.server, PatientStream(reader, 0.2), place.reporter)
    finally:
        os.close(reader)
        os.close(writer)
    assert place.incoming() == {}


def test_a_huge_checksum_file_or_extended_header_is_refused(place: Place) -> None:
    place.refuses(member("SHA256SUMS", b"x" * 100000), "too long")
    place.refuses(member(NAME, DATA, pax={"comment": "x" * 100000}), "too long")


def test_checksums_that_do_not_fit_are_refused(place: Place) -> None:
    place.refuses(member(NAME, DATA) + sums({NAME: DATA + b"x"}) + bytes(1024), "Bad file checksum")
    place.refuses(member(NAME, DATA) + sums({NAME: DATA + b"x"}, "md5") + bytes(1024), "Bad file checksum")
    place.refuses(member(NAME, DATA) + bytes(1024), "Missing checksum")
    place.refuses(archive({NAME: DATA})[:-1024] + sums({OTHER: b""}) + bytes(1024), "Checksum without corresponding")
    place.refuses(member(NAME, DATA) * 2 + sums({NAME: DATA}) + bytes(1024), "sent twice")
    place.refuses(member(NAME, DATA) + member("SHA256SUMS", b"nonsense\n") + bytes(1024), "Missing checksum")
    assert any("Bad checksum line" in text for _, text in place.reporter.lines)


def test_messages_say_who_sends_to_whom(place: Place) -> None:
    place.refuses(b"", "empty file in put-wal for server 'main' (SSH host: 10.0.0.1)")


def test_a_stream_that_ends_anywhere_stores_nothing(place: Place) -> None:
    """In a header, an extended header, content, padding, checksums, the end mark: as the original's clients send it."""
    name = "00000002.history"
    stream = as_tarfile_writes({name: HISTORY}).rstrip(b"\0")
    stream += bytes(-len(stream) % 512 + 512)
    assert len(stream) >= 7 * 512
    for length in range(0, len(stream), 3):
        with pytest.raises(PutWalError):
            place.put(stream[:length])
        assert place.incoming() == {}
    assert place.put(stream).stored == [name]


def test_a_confirmed_stream_that_ends_anywhere_stores_whole_files_only(place: Place) -> None:
    files = {"00000002.history": HISTORY, "00000003.history": HISTORY + b"2\t0/4000000\tno reason\n"}
    stream = archive(files, confirm=True)[:-512]
    seen = set()
    for length in range(0, len(stream), 37):
        with pytest.raises(PutWalError):
            place.put(stream[:length])
        assert place.incoming().items() <= files.items()
        assert len(place.answers) == len(place.incoming())
        seen.add(len(place.answers))
        place.answers.clear()
        for entry in Path(place.layout.incoming_directory).iterdir():
            entry.unlink()
    assert seen == {0, 1, 2}


def test_random_damage_never_stores_anything_else_nor_leaves_anything_behind(place: Place) -> None:
    dice = random.Random(7)
    name = "00000002.history"
    stream = archive({name: HISTORY}, confirm=True)
    for _ in range(300):
        bad = bytearray(stream)
        for _ in range(dice.choice((1, 1, 2, 8, 64))):
            bad[dice.randrange(len(bad))] = dice.randrange(256)
        try:
            place.put(bytes(bad))
        except PutWalError:
            pass
        assert set(place.incoming().values()) <= {HISTORY}
        assert all(entry.endswith(".history") for entry in place.incoming())
        for entry in Path(place.layout.incoming_directory).iterdir():
            entry.unlink()


def test_noise_is_no_archive(place: Place) -> None:
    dice = random.Random(1)
    for size in (1, 511, 512, 513, 5000):
        place.refuses(dice.randbytes(size), "")
    place.refuses(b"Welcome to dbhost!\n", "unexpected end")


def test_leftovers_of_killed_runs_are_swept(place: Place) -> None:
    leftover = Path(place.layout.incoming_directory, f".{NAME}.4194999.tmp")
    leftover.write_bytes(b"half")
    place.put(archive({OTHER: segment(OTHER)}))
    assert not leftover.exists()
