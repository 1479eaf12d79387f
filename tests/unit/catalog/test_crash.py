"""Every change of the catalog, cut off before each of its effects on the disk, leaves the old or the new state."""

import os
import sys
from collections.abc import Callable

import pytest

from barman.catalog.identity import Identity
from barman.values import replace
from tests.support.catalog_builder import add_backup, make_catalog, write
from tests.support.invariants import Expectations, violations

A = "20260101T120000"
EFFECTS = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.symlink"}
KILLED, FINISHED = 9, 0


def dies_before_effect(number: int, action: Callable[[], object]) -> bool:
    """Run the action in a child that ends, like a killed one, before its n-th effect; tell whether there was one."""
    pid = os.fork()
    if pid == 0:
        left = number

        def audit(event, args):
            nonlocal left
            creates = event == "open" and isinstance(args[2], int) and args[2] & (os.O_CREAT | os.O_TRUNC)
            if creates or event in EFFECTS:
                if left == 0:
                    os._exit(KILLED)
                left -= 1

        sys.addaudithook(audit)
        code = 1
        try:
            action()
            code = FINISHED
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (KILLED, FINISHED)
    return code == KILLED


def every_crash(tmp_path, prepare, action):
    """Yield the catalog after each way in which the action can be cut off."""
    number = 0
    while True:
        catalog = make_catalog(str(tmp_path / str(number)))
        prepare(catalog)
        if not dies_before_effect(number, lambda c=catalog: action(c)):
            break
        yield catalog
        number += 1
    assert number > 0


def test_a_save_leaves_the_old_or_the_new_record(tmp_path):
    def save(catalog):
        catalog.backups.save(replace(catalog.backups.read(A), status="FAILED", error="disk full"))

    for catalog in every_crash(tmp_path, lambda c: add_backup(c, A), save):
        records, damaged = catalog.backups.list()
        assert damaged == {}
        assert (records[A].status, records[A].error) in {("DONE", None), ("FAILED", "disk full")}
        save(catalog)
        expected = Expectations(settled=False, indexed=False)
        assert [text for text in violations(catalog.layout, expected) if "WAL" not in text] == []
        assert catalog.backups.list()[0][A].status == "FAILED"


def test_the_first_save_leaves_no_half_record(tmp_path):
    def save(catalog):
        add_backup(catalog, A)

    for catalog in every_crash(tmp_path, lambda c: os.rmdir(c.layout.meta_directory), save):
        records, damaged = catalog.backups.list()
        assert damaged == {}
        assert set(records) <= {A}


def test_a_removal_is_done_or_not_done_and_can_be_repeated(tmp_path):
    def remove(catalog):
        catalog.backups.remove_record(A)

    for catalog in every_crash(tmp_path, lambda c: add_backup(c, A), remove):
        assert os.path.exists(catalog.layout.backup_info(A))
        remove(catalog)
        assert catalog.backups.list() == ({}, {})


@pytest.mark.parametrize("place", ["new", "old"])
def test_a_kept_backup_stays_kept_while_its_target_changes(tmp_path, place):
    def prepare(catalog):
        add_backup(catalog, A)
        write(catalog.layout.keep(A) if place == "new" else catalog.layout.legacy_keep(A), "standalone")

    for catalog in every_crash(tmp_path, prepare, lambda c: c.keep.set(A, "full")):
        assert catalog.keep.list([A]).get(A) in ("full", "standalone")
    for catalog in every_crash(tmp_path / "read", prepare, lambda c: c.keep.get(A)) if place == "old" else ():
        assert catalog.keep.list([A]) == {A: "standalone"}


def test_the_identity_is_absent_or_whole(tmp_path):
    ours, other = Identity("7454545454545454545", "15"), Identity("8", "17")
    for catalog in every_crash(tmp_path / "first", lambda _: None, lambda c: c.identity.ensure(ours)):
        assert catalog.identity.read() in (None, ours)
    for catalog in every_crash(
        tmp_path / "again", lambda c: c.identity.ensure(ours), lambda c: c.identity.write(other)
    ):
        assert catalog.identity.read() in (ours, other)
