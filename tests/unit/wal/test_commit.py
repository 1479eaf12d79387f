"""The durable order of one group, and its repetition."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from barman.catalog.wal_file import WalFile
from barman.server.server import Server
from barman.wal.admission import Decision
from barman.wal.commit import Prepared, commit, listed_names
from barman.wal.source import Found
from barman.wal.staging import Staging
from tests.support.wal_files import drop, make_server, segment, segment_name

NAMES = [segment_name(number) for number in (1, 2, 3)]


@pytest.fixture(name="server")
def _server(tmp_path: Path) -> Server:
    return make_server(tmp_path)


def found(server: Server, name: str, *, keep: bool = False) -> Found:
    directory = server.catalog.layout.incoming_directory
    drop(directory, name)
    path = os.path.join(directory, name)
    facts = os.stat(path)
    return Found(name, path, facts.st_size, facts.st_mtime, 0o644, os.geteuid(), keep=keep)


def prepare(server: Server, name: str, *, keep: bool = False) -> Prepared:
    with Staging(server.catalog, None) as staging:
        prepared = staging.prepare(found(server, name, keep=keep))
        staging.published([prepared])
    return prepared


def test_a_group_is_published_indexed_in_order_and_its_sources_are_gone(server: Server) -> None:
    group = [prepare(server, name) for name in NAMES]
    commit(server.catalog, group)
    assert [file.name for file in server.catalog.xlogdb.scan()] == NAMES
    for name in NAMES:
        with open(server.catalog.layout.wal_path(name), "rb") as file:
            assert file.read() == segment(name)
    assert os.listdir(server.catalog.layout.incoming_directory) == []
    assert sorted(os.listdir(os.path.dirname(group[0].final_path))) == NAMES


def test_a_kept_file_is_archived_and_stays(server: Server) -> None:
    commit(server.catalog, [prepare(server, NAMES[0], keep=True)])
    assert server.catalog.wals.exists(NAMES[0])
    assert os.listdir(server.catalog.layout.incoming_directory) == [NAMES[0]]


def test_an_archived_name_is_never_replaced(server: Server) -> None:
    prepared = prepare(server, NAMES[0])
    with open(prepared.final_path, "wb") as file:
        file.write(b"older")
    with pytest.raises(FileExistsError):
        commit(server.catalog, [prepared])
    with open(prepared.final_path, "rb") as file:
        assert file.read() == b"older"
    assert os.path.exists(prepared.found.path)
    assert list(server.catalog.xlogdb.scan()) == []


def test_a_line_is_added_for_an_identical_file_only_if_it_is_missing(server: Server) -> None:
    commit(server.catalog, [prepare(server, name) for name in NAMES[:2]])
    server.catalog.xlogdb.remove([NAMES[0]])
    again = [Prepared(found(server, n), Decision.IDENTICAL, server.catalog.layout.wal_path(n)) for n in NAMES[:2]]
    commit(server.catalog, again)
    assert sorted(file.name for file in server.catalog.xlogdb.scan()) == NAMES[:2]
    assert os.listdir(server.catalog.layout.incoming_directory) == []


def test_a_missing_index_is_rebuilt_with_the_group(server: Server) -> None:
    commit(server.catalog, [prepare(server, NAMES[0])])
    os.unlink(server.catalog.xlogdb.path)
    commit(server.catalog, [prepare(server, NAMES[1])])
    assert [file.name for file in server.catalog.xlogdb.scan()] == NAMES[:2]


def test_lines_are_found_at_the_start_in_the_middle_and_at_the_end_but_not_torn(server: Server) -> None:
    index = Path(server.catalog.xlogdb.path)
    assert listed_names(server.catalog, NAMES) == set()
    index.write_bytes(b"")
    assert listed_names(server.catalog, NAMES) == set()
    lines = [WalFile(name, 1, 1.5).line() for name in NAMES]
    index.write_bytes(b"".join(lines))
    assert listed_names(server.catalog, NAMES) == set(NAMES)
    index.write_bytes(b"".join(lines)[:-1])
    assert listed_names(server.catalog, NAMES) == set(NAMES[:2])
    assert listed_names(server.catalog, [f"{NAMES[0]}.partial"]) == set()


def test_lines_are_looked_for_while_nobody_rewrites_the_index(server: Server) -> None:
    commit(server.catalog, [prepare(server, NAMES[0])])
    answer: list[set[str]] = []
    with server.catalog.locks.xlogdb():
        asking = threading.Thread(target=lambda: answer.append(listed_names(server.catalog, NAMES)))
        asking.start()
        asking.join(0.2)
        assert answer == []
    asking.join()
    assert answer == [{NAMES[0]}]


def test_a_directory_that_a_removal_took_away_is_made_again(server: Server) -> None:
    directory = os.path.dirname(server.catalog.layout.wal_path(NAMES[0]))
    with Staging(server.catalog, None) as staging:
        first = staging.prepare(found(server, NAMES[0]))
        os.unlink(first.temporary)
        os.rmdir(directory)
        prepared = staging.prepare(found(server, NAMES[1]))
        assert prepared.decision is Decision.ARCHIVE
        commit(server.catalog, [prepared])
    assert os.listdir(directory) == [NAMES[1]]
