"""The keep command, run as a program."""

import subprocess
import sys

import pytest

from tests.support.catalog_builder import add_backup, make_catalog
from tests.support.fix_upstream import INACTIVE_SERVER, write_config

A, B = "20260101T120000", "20260102T120000"


@pytest.fixture(name="catalog")
def fixture_catalog(tmp_path):
    write_config(str(tmp_path), {"main": {**INACTIVE_SERVER, "active": "true"}})
    catalog = make_catalog(str(tmp_path))
    add_backup(catalog, A)
    return catalog


def keep(catalog, *args):
    config = f"{catalog.layout.barman_home}/barman.conf"
    return subprocess.run(
        [sys.executable, "-m", "barman", "-c", config, "keep", *args], capture_output=True, text=True, check=False
    )


def test_setting_is_silent_and_status_tells(catalog):
    assert keep(catalog, "--target", "standalone", "main", A).stdout == ""
    assert catalog.keep.get(A) == "standalone"
    assert keep(catalog, "--status", "main", "latest").stdout == "Server main:\n\tKeep: standalone\n"


def test_a_deletion_that_has_begun_is_not_overtaken(catalog):
    with catalog.locks.backup_id(A):
        done = keep(catalog, "--target", "full", "main", A)
    assert done.returncode == 1
    assert f".main-{A}.lock" in done.stderr
    assert catalog.keep.get(A) is None


def test_a_restore_that_runs_does_not_stand_in_the_way(catalog):
    with catalog.locks.backup_id(A, shared=True):
        assert keep(catalog, "--target", "full", "main", A).returncode == 0
    assert catalog.keep.get(A) == "full"


def test_a_backup_that_is_not_done_cannot_be_kept_and_the_reason_is_given(catalog):
    add_backup(catalog, B, status="WAITING_FOR_WALS")
    done = keep(catalog, "--target", "full", "main", B)
    assert done.returncode == 1
    assert f"Cannot add keep to backup {B} because it has status WAITING_FOR_WALS." in done.stderr


def test_one_of_the_actions_is_required(catalog):
    done = keep(catalog, "main", A)
    assert done.returncode == 1
    assert done.stderr.startswith("ERROR: ")
