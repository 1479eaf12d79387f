"""export-backup and import-backup: what is exported comes back as it was; what is hostile changes nothing."""

import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from barman.backup.bundle_export import export_backup
from barman.backup.bundle_import import import_backup
from barman.backup.expire import apply_retention
from barman.backup.manifest import write_manifest
from barman.catalog import backup_info_file
from barman.catalog.backup_id import BackupId
from barman.catalog.backup_info import Tablespace
from barman.catalog.identity import Identity
from barman.catalog.wal_file import parse_line
from barman.errors import BackupError, BarmanError
from barman.fs.tree import walk
from barman.report import MemoryReporter
from barman.server.server import Server
from barman.values import replace
from tests.support.catalog_builder import add_backup, add_chain, write
from tests.support.tar_builder import member
from tests.unit.backup.support import (
    SEGMENT,
    SYSTEM_ID,
    archive_segments,
    archived,
    make_server,
    put,
    segment,
    segment_content,
)

A, B, C = (f"2026010{day}T000000" for day in (1, 2, 3))
SYSTEM = str(SYSTEM_ID)


def server_at(home: Path, **options: str) -> Server:
    home.mkdir(exist_ok=True)
    server = make_server(str(home), **options)
    server.catalog.identity.write(Identity(SYSTEM, "15"))
    return server


@pytest.fixture
def source(tmp_path: Path) -> Server:
    """A server with a backup that has a tablespace, a manifest, and WAL beyond its end."""
    server = server_at(tmp_path / "source")
    info = add_backup(
        server.catalog,
        A,
        begin=2,
        end=4,
        xlog_segment_size=SEGMENT,
        systemid=SYSTEM,
        tablespaces=(Tablespace("tsa", 16390, "/srv/tsa"),),
    )
    layout = server.catalog.layout
    write(os.path.join(layout.tablespace_directory(A, 16390), "PG_15_202209061", "5", "16400"), "rows" * 300)
    write_manifest(layout, info)
    archive_segments(server.catalog, 1, 6)
    return server


@pytest.fixture
def other(tmp_path: Path) -> Server:
    """Another repository of the same cluster, empty."""
    return server_at(tmp_path / "other")


def export(server: Server, directory: Path, *how: object) -> Path:
    directory.mkdir(exist_ok=True)
    info = server.catalog.backups.read(A)
    return Path(export_backup(server, info, str(directory), {"barman_ver": "1"}, *how))  # type: ignore[arg-type]  # any option


def content(root: str) -> dict[str, object]:
    """Names, modes and bytes of a tree; the record has its own test."""
    found: dict[str, object] = {}
    for entry in walk(root):
        if entry.relative == "backup.info":
            continue
        data: object = None
        if entry.is_file:
            data = (entry.mode & 0o640, int(entry.mtime), Path(entry.path).read_bytes())
        elif entry.is_link:
            data = os.path.realpath(entry.path).removeprefix(os.path.realpath(root))
        found[entry.relative] = data
    return found


def state(server: Server) -> dict[str, object]:
    """Everything in a repository but locks, caches, and directories that a good server has anyway."""
    root = server.catalog.layout.backup_directory
    return {entry.relative: Path(entry.path).read_bytes() for entry in walk(root) if entry.is_file}


@pytest.mark.parametrize("how", [(), ("gzip", 1), ("bzip2", None), ("xz", 0)])
def test_what_is_exported_comes_back_as_it_was(source: Server, other: Server, tmp_path: Path, how: tuple) -> None:
    path = export(source, tmp_path / "out", *how)
    reporter = MemoryReporter()
    info = import_backup(other, str(path), reporter)
    mine, theirs = source.catalog, other.catalog
    assert content(theirs.layout.backup_directory_of(A)) == content(mine.layout.backup_directory_of(A))
    assert archived(theirs) == [segment(number) for number in (2, 3, 4)]
    assert [Path(theirs.layout.wal_path(n)).read_bytes() for n in archived(theirs)] == [
        Path(mine.layout.wal_path(n)).read_bytes() for n in archived(theirs)
    ]
    assert theirs.backups.read(A) == info == replace(mine.backups.read(A), deduplicated_size=info.deduplicated_size)
    assert theirs.keep.get(A) == "standalone"
    assert reporter.texts("warning") == []
    assert os.listdir(theirs.layout.basebackups_directory) == [A]


def test_the_file_is_named_by_its_checksum_and_has_its_members_in_order(source: Server, tmp_path: Path) -> None:
    path = export(source, tmp_path / "out")
    assert os.listdir(path.parent) == [path.name]
    assert path.name.endswith(f"-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.tar")
    with tarfile.open(path) as tar:
        names = tar.getnames()
        lines = [parse_line(line) for line in tar.extractfile("xlog.db").read().splitlines()]  # type: ignore[union-attr]  # it is a file
    assert [(line.name, line.compression) for line in lines if line] == [(segment(n), "gzip") for n in (2, 3, 4)]
    assert names[:4] == ["identity.json", "backup.info", "barman.json", "backup"]
    assert names[-4:] == [f"wals/{segment(2)[:16]}/{segment(number)}" for number in (2, 3, 4)] + ["xlog.db"]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda server: os.unlink(server.catalog.layout.identity), "has no identity.json"),
        (lambda server: os.unlink(server.catalog.layout.wal_path(segment(3))), segment(3)),
        (lambda server: put(server.catalog, segment(3), b"x" * 100), segment(3)),
        (lambda server: set_record(server, status="FAILED"), "its status is FAILED"),
        (lambda server: set_record(server, parent_backup_id=BackupId(B)), "incremental"),
        (lambda server: os.mkfifo(os.path.join(server.catalog.layout.data_directory(A), "fifo")), "neither a file"),
    ],
)
def test_what_could_not_be_restored_is_not_exported(source: Server, tmp_path: Path, spoil, reason: str) -> None:
    spoil(source)
    with pytest.raises(BackupError, match="export|identity|neither") as caught:
        export(source, tmp_path / "out")
    assert reason in caught.value.message
    assert os.listdir(tmp_path / "out") == []


def set_record(server: Server, **changes: object) -> None:
    server.catalog.backups.save(replace(server.catalog.backups.read(A), **changes))


@pytest.mark.parametrize("how", [(None, 3), ("gzip", 0), ("gzip", 10), ("bzip2", 0), ("xz", -1), ("xz", 10)])
def test_levels_that_make_no_sense_are_refused(source: Server, tmp_path: Path, how: tuple) -> None:
    with pytest.raises(BackupError, match="level"):
        export(source, tmp_path / "out", *how)


def test_no_directory_no_export(source: Server, tmp_path: Path) -> None:
    info = source.catalog.backups.read(A)
    with pytest.raises(BackupError, match="not a directory"):
        export_backup(source, info, str(tmp_path / "nowhere"), {})


# --- what is not imported


def test_a_file_under_another_name_or_of_another_server_is_refused(
    source: Server, other: Server, tmp_path: Path
) -> None:
    path = export(source, tmp_path / "out")
    for name in ("x.tar", path.name.replace("-main-", "-mai-"), path.name.replace(".tar", ".tgz"), path.name + "\n"):
        renamed = path.with_name(name)
        shutil.copy(path, renamed)
        with pytest.raises(BackupError, match="not the name of an exported backup"):
            import_backup(other, str(renamed), MemoryReporter())


def test_a_file_that_is_damaged_anywhere_is_refused(source: Server, other: Server, tmp_path: Path) -> None:
    path = export(source, tmp_path / "out", "gzip", 1)
    before, good = state(other), path.read_bytes()
    for place in (0, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with pytest.raises(BackupError, match="its checksum is"):
            import_backup(other, str(path), MemoryReporter())
    assert state(other) == before


def test_the_backup_of_another_cluster_is_refused(source: Server, other: Server, tmp_path: Path) -> None:
    path = export(source, tmp_path / "out")
    other.catalog.identity.write(Identity("7000000000000000001", "15"))
    before = state(other)
    with pytest.raises(BackupError, match=f"{SYSTEM}, server main is 7000000000000000001"):
        import_backup(other, str(path), MemoryReporter())
    assert state(other) == before


def test_another_major_version_is_a_warning(source: Server, other: Server, tmp_path: Path) -> None:
    path, reporter = export(source, tmp_path / "out"), MemoryReporter()
    other.catalog.identity.write(Identity(SYSTEM, "16"))
    import_backup(other, str(path), reporter)
    assert "PostgreSQL 15, server main is of PostgreSQL 16" in reporter.texts("warning")[0]


def test_a_backup_that_is_there_already_is_refused(source: Server, other: Server, tmp_path: Path) -> None:
    path = export(source, tmp_path / "out")
    import_backup(other, str(path), MemoryReporter())
    before = state(other)
    for server in (source, other):
        with pytest.raises(BackupError, match="in the catalog of server main already"):
            import_backup(server, str(path), MemoryReporter())
    assert state(other) == before


def test_other_wal_under_the_same_name_is_refused_and_the_same_is_not_copied(
    source: Server, other: Server, tmp_path: Path
) -> None:
    path = export(source, tmp_path / "out")
    put(other.catalog, segment(3), segment_content(3)[:-1] + b"x")
    before = state(other)
    with pytest.raises(BackupError, match=f"{segment(3)} is archived already, with other content"):
        import_backup(other, str(path), MemoryReporter())
    assert state(other) == before
    os.unlink(other.catalog.layout.wal_path(segment(3)))
    other.catalog.xlogdb.rebuild()
    kept = put(other.catalog, segment(3), segment_content(3))
    inode = os.stat(kept).st_ino
    import_backup(other, str(path), MemoryReporter())
    assert os.stat(kept).st_ino == inode
    assert len(archived(other.catalog)) == 3


def test_a_busy_server_is_left_alone(source: Server, other: Server, tmp_path: Path) -> None:
    path = export(source, tmp_path / "out")
    with other.catalog.locks.backup(), pytest.raises(BackupError, match="nothing is imported"):
        import_backup(other, str(path), MemoryReporter())


# --- hostile files, with a right name and a right checksum


def members_of(source: Server, tmp_path: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with tarfile.open(export(source, tmp_path / "good")) as tar:
        for info in tar:
            stream = tar.extractfile(info) if info.isfile() else None
            if stream is not None:
                found[info.name] = stream.read()
    return found


def bundle(directory: Path, members: Mapping[str, bytes], more: bytes = b"") -> str:
    data = b"".join(member(name, text) for name, text in members.items()) + more + bytes(1024)
    name = f"backup-export-main-{A}-20260101T000000-{hashlib.sha256(data).hexdigest()[:8]}.tar"
    (directory / name).write_bytes(data)
    return str(directory / name)


WALS = f"wals/{segment(2)[:16]}"
HOSTILE: dict[str, tuple[bytes, str]] = {
    "up": (member("backup/../../../evil", b"x"), "Unsupported filename"),
    "absolute": (member("/tmp/evil", b"x"), "Unsupported filename"),
    "a blank part": (member("backup//evil", b"x"), "Unsupported filename"),
    "too deep": (member("backup/" + "a/" * 200 + "b", b"x"), "Unsupported filename"),
    "too long": (member("backup/" + "a" * 5000, b"x"), "Unsupported filename"),
    "another place": (member("meta/x-backup.info", b"x"), "does not belong"),
    "a link": (member("backup/data/base", b"", kind=tarfile.SYMTYPE), "is a link"),
    "a link below the links": (member("backup/data/pg_tblspc/1/x", b"", kind=tarfile.SYMTYPE), "is a link"),
    "a hard link": (member("backup/data/x", b"", kind=tarfile.LNKTYPE), "Unsupported file type"),
    "a device": (member("backup/data/x", b"", kind=tarfile.CHRTYPE), "Unsupported file type"),
    "a pipe": (member("backup/data/x", b"", kind=tarfile.FIFOTYPE), "Unsupported file type"),
    "twice": (member("backup/data/PG_VERSION", b"14\n"), "twice"),
    "two records": (member("backup.info", b"x"), "two members"),
    "a file for a directory": (member("backup/data/PG_VERSION/x", b"x"), "twice"),
    "no WAL": (member(f"{WALS}/evil", b"x"), "does not belong"),
    "WAL in a wrong place": (member(f"wals/{'0' * 16}/{segment(3)}", b"x"), "does not belong"),
    "WAL beyond": (member(f"{WALS}/{segment(9)}", segment_content(9)), "does not need it"),
    "garbage": (b"\xff" * 512, "invalid header"),
    "cut": (member("backup/data/x", bytes(2000))[:1000], "unexpected end|invalid header"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_members_change_nothing(source: Server, other: Server, tmp_path: Path, kind: str) -> None:
    more, reason = HOSTILE[kind]
    path = bundle(tmp_path, members_of(source, tmp_path), more)
    before, outside = state(other), sorted(os.listdir(tmp_path))
    with pytest.raises(BarmanError, match=reason):
        import_backup(other, path, MemoryReporter())
    assert state(other) == before
    assert sorted(os.listdir(tmp_path)) == outside
    assert os.listdir(other.catalog.layout.basebackups_directory) == []


def changed(members: dict[str, bytes], name: str, data: bytes | None) -> dict[str, bytes]:
    found = {**members, name: data or b""}
    if data is None:
        del found[name]
    return found


def record(members: dict[str, bytes], **changes: object) -> bytes:
    info = backup_info_file.parse(members["backup.info"].decode(), BackupId(A), "main")
    return backup_info_file.format(replace(info, **changes)).encode()


@pytest.mark.parametrize(
    ("name", "make", "reason"),
    [
        ("identity.json", lambda _: None, "no member identity.json"),
        ("identity.json", lambda _: b"[" * 60000, "not JSON"),
        ("identity.json", lambda _: b"[]", "does not tell"),
        ("identity.json", lambda _: json.dumps({"systemid": "1"}).encode(), "of the cluster with"),
        ("backup.info", lambda _: None, "no member backup.info"),
        ("backup.info", lambda _: b"\xff\0", "cannot be read"),
        ("backup.info", lambda old: record(old, systemid="2"), "of the cluster with"),
        ("backup.info", lambda old: record(old, status="FAILED"), "not DONE"),
        ("backup.info", lambda old: record(old, parent_backup_id=BackupId(B)), "restored alone"),
        ("backup.info", lambda old: record(old, server_name="pg"), "of server pg"),
        ("backup.info", lambda old: record(old, begin_wal=segment(1)), f"{segment(1)}, without which"),
        ("backup.info", lambda old: record(old, end_wal=segment(1 << 30)), "believable WAL range"),
        ("backup/data/PG_VERSION", lambda _: None, "PG_VERSION is missing"),
        ("backup/data/PG_VERSION", lambda _: b"16\n", "PG_VERSION has another checksum"),
        ("backup/data/PG_VERSION", lambda _: b"150\n", "PG_VERSION has 4 bytes instead of 3"),
        ("backup/16390/PG_15_202209061/5/16400", lambda _: b"R" * 1200, "another checksum"),
        ("backup/data/backup_manifest", lambda _: b"{}", "manifest"),
        (f"{WALS}/{segment(3)}", lambda _: None, f"{segment(3)}, without which"),
        (f"{WALS}/{segment(3)}", lambda _: segment_content(4), "not sound"),
        (f"{WALS}/{segment(3)}", lambda _: segment_content(3)[:100], "not sound"),
        (f"{WALS}/{segment(3)}", lambda _: b"", "not sound"),
    ],
)
def test_content_that_is_not_what_it_should_be_changes_nothing(
    source: Server, other: Server, tmp_path: Path, name: str, make, reason: str
) -> None:
    members = members_of(source, tmp_path)
    path = bundle(tmp_path, changed(members, name, make(members)))
    before = state(other)
    with pytest.raises(BarmanError, match=reason):
        import_backup(other, path, MemoryReporter())
    assert state(other) == before
    assert os.listdir(other.catalog.layout.basebackups_directory) == []


# --- interrupted, and afterwards


def test_what_a_dead_import_left_is_swept_and_the_next_one_succeeds(
    source: Server, other: Server, tmp_path: Path
) -> None:
    path = export(source, tmp_path / "out")
    layout = other.catalog.layout
    write(os.path.join(layout.basebackups_directory, f".import-{A}", A, "data", "PG_VERSION"), "half")
    write(os.path.join(layout.basebackups_directory, f".import-{B}", "x"), "half")
    put(other.catalog, segment(2), Path(source.catalog.layout.wal_path(segment(2))).read_bytes())
    other.catalog.keep.set(A, "standalone")
    import_backup(other, str(path), MemoryReporter())
    assert os.listdir(layout.basebackups_directory) == [A]
    assert len(archived(other.catalog)) == 3


def test_an_imported_backup_stays_whatever_the_policy_says(source: Server, tmp_path: Path) -> None:
    path = export(source, tmp_path / "out")
    server = server_at(tmp_path / "third", retention_policy="REDUNDANCY 1")
    for backup_id, number in ((B, 10), (C, 12)):
        add_backup(server.catalog, backup_id, begin=number, end=number, xlog_segment_size=SEGMENT, tablespaces=())
    archive_segments(server.catalog, 10, 13)
    import_backup(server, str(path), MemoryReporter())
    assert apply_retention(server, MemoryReporter()) == [B]
    assert sorted(server.catalog.snapshot().backups) == [A, C]
    assert archived(server.catalog) == [segment(number) for number in (2, 3, 4, 12, 13)]


def test_a_chain_is_not_exported_but_its_root_is(tmp_path: Path, other: Server) -> None:
    server = server_at(tmp_path / "chain")
    add_chain(server.catalog, A, B, xlog_segment_size=SEGMENT, systemid=SYSTEM, tablespaces=())
    archive_segments(server.catalog, 4, 5)
    with pytest.raises(BackupError, match="incremental"):
        export_backup(server, server.catalog.backups.read(B), str(tmp_path), {})
    path = export(server, tmp_path / "out")
    assert import_backup(other, str(path), MemoryReporter()).children_backup_ids == ()
