"""Which backups give files to a new one, and what their times prove."""

import os

from barman.backup.references import (
    choose_reference,
    choose_unfinished,
    is_intact,
    leave_word,
    take_back_word,
    trusted_begin,
)
from barman.catalog.backup_id import BackupId
from barman.values import replace
from tests.support.catalog_builder import add_backup
from tests.unit.backup.facts import make_facts
from tests.unit.backup.support import make_server

IDS = [BackupId(f"2026010{day}T000000") for day in range(1, 6)]


def add(server, backup_id, status, **fields):
    return add_backup(server.catalog, backup_id, status=status, mode="rsync-concurrent", **fields)


def test_what_broke_off_serves_until_a_complete_backup_follows(tmp_path):
    server, facts = make_server(str(tmp_path)), make_facts()
    for backup_id, status in zip(IDS, ("FAILED", "DONE", "FAILED", "FAILED"), strict=False):
        add(server, backup_id, status)
    view = server.catalog.snapshot()
    assert choose_reference(facts, view).backup_id == IDS[1]
    assert choose_unfinished(facts, view).backup_id == IDS[3]
    server.catalog.backups.mark_deleting(IDS[3])
    assert choose_unfinished(facts, server.catalog.snapshot()).backup_id == IDS[2]
    assert choose_unfinished(make_facts(system_id="1"), view) is None
    add(server, IDS[4], "WAITING_FOR_WALS")
    view = server.catalog.snapshot()
    assert choose_unfinished(facts, view) is None
    assert choose_reference(facts, view).backup_id == IDS[4]


def test_times_prove_something_only_on_the_primary_of_the_same_timeline(tmp_path):
    server, facts = make_server(str(tmp_path)), make_facts()
    failed = replace(add(server, IDS[0], "FAILED"), backup_label=None)
    assert trusted_begin(failed, facts) == failed.begin_time is not None
    # A standby does not name its segment before the backup.
    assert trusted_begin(replace(failed, begin_wal=None), facts) is None
    for info in (failed, add(server, IDS[1], "DONE")):
        assert trusted_begin(info, make_facts(timeline=2)) is None
        assert trusted_begin(info, make_facts(in_recovery=True)) is None


def test_unsynced_files_are_trusted_in_the_same_run_of_the_system_only(tmp_path):
    layout = make_server(str(tmp_path)).catalog.layout
    assert not is_intact(layout, IDS[0])
    leave_word(layout, IDS[0])
    assert is_intact(layout, IDS[0])
    note = os.path.join(layout.backup_directory_of(IDS[0]), ".copying")
    with open(note, "w", encoding="ascii") as file:
        file.write("11111111-2222-3333-4444-555555555555")
    assert not is_intact(layout, IDS[0])
    with open(note, "w", encoding="ascii"):
        pass
    assert not is_intact(layout, IDS[0])
    take_back_word(layout, IDS[0])
    assert os.listdir(layout.backup_directory_of(IDS[0])) == []
