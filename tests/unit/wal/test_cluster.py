"""What is known of a cluster without asking it, and from where."""

from __future__ import annotations

from pathlib import Path

from barman.catalog.identity import Identity
from barman.server.server import Server
from barman.wal.cluster import UNKNOWN, Cluster, known_cluster, live_cluster
from barman.wal.source import scan
from tests.support.wal_files import SEGMENT_SIZE, SYSTEM_ID, drop, make_server, segment, segment_name

OWN = Cluster(str(SYSTEM_ID), SEGMENT_SIZE)


def known(server: Server) -> tuple[Cluster, list[str]]:
    warnings: list[str] = []
    queue = scan(server.catalog.layout.incoming_directory)
    return known_cluster(server.catalog, queue, None, warnings.append), warnings


def store(server: Server, name: str, data: bytes) -> None:
    path = Path(server.catalog.layout.wal_path(name))
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)


def test_an_empty_catalog_knows_nothing_and_a_server_that_cannot_be_reached_tells_nothing(tmp_path: Path) -> None:
    server = make_server(tmp_path)
    assert known(server) == (UNKNOWN, [])
    assert live_cluster(server) == UNKNOWN
    assert not UNKNOWN.is_known


def test_what_is_archived_goes_before_what_waits_and_the_latest_timeline_before_others(tmp_path: Path) -> None:
    server = make_server(tmp_path)
    drop(server.catalog.layout.incoming_directory, segment_name(9), segment(segment_name(9), system_id=42))
    assert known(server)[0] == Cluster("42", SEGMENT_SIZE)
    store(server, segment_name(3), segment(segment_name(3), system_id=43))
    assert known(server)[0] == Cluster("43", SEGMENT_SIZE)
    store(server, segment_name(4, timeline=2), segment(segment_name(4, timeline=2)))
    assert known(server) == (OWN, [])


def test_unsound_files_tell_nothing(tmp_path: Path) -> None:
    server = make_server(tmp_path)
    store(server, segment_name(4, timeline=2), b"\x1f\x8b\x08 damaged")
    store(server, segment_name(4, timeline=3), segment(segment_name(5, timeline=3), system_id=42))
    store(server, segment_name(3), segment(segment_name(3)))
    assert known(server) == (OWN, [])


def test_identity_and_backups_go_before_everything(tmp_path: Path) -> None:
    server = make_server(tmp_path)
    layout = server.catalog.layout
    store(server, segment_name(3), segment(segment_name(3)))
    server.catalog.identity.write(Identity("42", "15"))
    assert known(server)[0] == Cluster("42", SEGMENT_SIZE)
    Path(layout.backup_info("20261122T101010")).write_text("status=WAITING_FOR_WALS\nxlog_segment_size=67108864\n")
    assert known(server)[0] == Cluster("42", 64 << 20)


def test_records_that_say_nothing_sensible_are_passed_over(tmp_path: Path) -> None:
    server = make_server(tmp_path)
    for number, text in enumerate(
        ("status=DONE\n", "", "\0\xff", "status=DONE\nxlog_segment_size=None\n", "status=DONE\nxlog_segment_size=3\n",
         "status=DONE\nxlog_segment_size=" + "9" * 5000 + "\n")
    ):  # fmt: skip
        Path(server.catalog.layout.backup_info(f"2026112{number}T101010")).write_text(text, "latin-1")
    assert known(server) == (UNKNOWN, [])


def test_a_damaged_identity_is_told_and_no_system_identifier_is_guessed(tmp_path: Path) -> None:
    server = make_server(tmp_path)
    store(server, segment_name(3), segment(segment_name(3)))
    Path(server.catalog.layout.identity).write_text("{")
    found, warnings = known(server)
    assert found == Cluster(None, SEGMENT_SIZE)
    assert len(warnings) == 1
    assert "identity.json" in warnings[0]
