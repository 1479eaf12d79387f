"""Which unfinished segments a restore looks at, on files as a receiver, an archiver or an operator leaves them."""

import os

import pytest

from barman.catalog.catalog import Catalog
from barman.errors import WalError
from barman.postgres.wal_name import WalSegment
from barman.restore.gather import gather_archive, look_at_wal
from barman.restore.partial import wants_partial
from barman.restore.request import RestoreRequest
from barman.restore.step import WalDelivery
from barman.restore.steps.wal import decode_wal
from tests.support.catalog_builder import SYSTEM_ID, make_info, make_layout, write
from tests.support.wal_builder import MB, write_segment

INFO = make_info("20261101T000000", begin=4, end=4, xlog_segment_size=MB)


def name(number, timeline=1, suffix=""):
    return WalSegment.numbered(number, timeline, MB).name + suffix


class Repository:
    def __init__(self, tmp_path):
        self.catalog = Catalog(make_layout(tmp_path, "main"))
        self.layout = self.catalog.layout
        self.catalog.ensure_directories()
        for number in (4, 5):
            self.archive(name(number))

    def archive(self, found, **options):
        return self._put(os.path.dirname(self.layout.wal_path(found)), found, **options)

    def receive(self, found, **options):
        return self._put(self.layout.streaming_directory, found, **options)

    def _put(self, directory, found, **options):
        return write_segment(directory, found, segment_size=MB, **{"system_id": int(SYSTEM_ID), **options})

    def gather(self, **options):
        facts = gather_archive(self.catalog, INFO, RestoreRequest("latest", "/dest", **options))
        return {item.name: item for item in facts.partials.values()}, facts.notes


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path)


def test_what_is_received_wins_over_what_was_archived(repository):
    repository.archive(name(6, suffix=".partial"))
    received = repository.receive(name(6, suffix=".partial"))
    found, notes = repository.gather()
    assert [item.path for item in found.values()] == [received]
    assert notes == ()
    os.unlink(received)
    found, _ = repository.gather()
    assert [item.path for item in found.values()] == [repository.layout.wal_path(name(6, suffix=".partial"))]
    assert repository.gather(partial_wal=False) == ({}, ())


def test_only_what_follows_the_whole_segments_of_a_timeline_that_leads_on_counts(repository):
    for stale in (name(3), name(5), name(6, 9)):
        repository.receive(stale + ".partial")
    repository.archive(name(2, suffix=".partial"))
    assert repository.gather() == ({}, ())


@pytest.mark.parametrize("content", [b"", bytes(MB)])
@pytest.mark.parametrize("asked_for", [None, True])
def test_a_segment_into_which_nothing_has_come_yet_is_none(repository, content, asked_for):
    write(os.path.join(repository.layout.streaming_directory, name(6, suffix=".partial")), content)
    assert repository.gather(partial_wal=asked_for) == ({}, ())


def test_one_of_another_cluster_is_left_out_with_the_reason_or_refused_if_it_was_demanded(repository):
    path = repository.receive(name(6, suffix=".partial"), system_id=7)
    found, notes = repository.gather()
    assert found == {}
    assert notes[0].startswith(f"the unfinished segment '{path}' is left out: it is of the cluster with system")
    found, notes = repository.gather(partial_wal=True)
    assert list(found) == [name(6, suffix=".partial")]
    files = [WalDelivery(path, name(6), MB)]
    assert "system identifier 7" in look_at_wal(files, INFO, None).refusals[0]


def test_one_behind_segments_that_wait_in_a_queue_is_left_out_and_behind_lost_ones_it_is_kept(repository):
    repository.receive(name(8, suffix=".partial"))
    repository.receive(name(6))
    waiting = repository.receive(name(7))
    found, notes = repository.gather()
    assert found == {}
    assert "2 segments before it, from 000000010000000000000006 on, wait in the queues" in notes[0]
    assert repository.gather(get_wal=True) == ({}, ()), "the server fetches from the queues, too"
    os.unlink(waiting)
    assert list(repository.gather()[0]) == [name(8, suffix=".partial")]


def test_a_standby_gets_no_unfinished_segment_unless_it_is_demanded():
    assert not wants_partial(RestoreRequest("latest", "/dest", standby_mode=True))
    assert wants_partial(RestoreRequest("latest", "/dest", standby_mode=True, partial_wal=True))


def test_one_that_is_finished_or_archived_before_its_turn_is_found_again(repository, tmp_path):
    path = repository.receive(name(6, suffix=".partial"), fill=b"x" * 100)
    (item,) = repository.gather()[0].values()
    delivery = WalDelivery(item.path, name(6), MB, 140, item.later_paths)
    target = str(tmp_path / "target")
    with open(path, "rb") as file:
        content = file.read()
    for moved in (path, *item.later_paths):
        os.renames(path, moved)
        path = moved
        decode_wal(delivery, target, None)
        with open(target, "rb") as file:
            assert file.read() == content
    os.unlink(path)
    with pytest.raises(FileNotFoundError):
        decode_wal(delivery, target, None)
    write(item.path, content[:120])
    with pytest.raises(WalError, match="has lost content: 120 bytes, 140 when it was judged"):
        decode_wal(delivery, target, None)
