"""`replication-status` of servers that cannot be asked; commands and servers that are switched off."""

import json

import pytest

from tests.support.catalog_builder import add_backup
from tests.support.offline import OfflineHome

A = "20261101T000000"


def _home(directory, **options):
    path = directory / "-".join(options)
    path.mkdir()
    return OfflineHome(path, **options)


@pytest.mark.parametrize("options", [(), ("--minimal",), ("--target", "hot-standby")])
def test_a_server_out_of_reach_has_its_key_in_json_and_the_error_beside_it(tmp_path, options):
    home = OfflineHome(tmp_path)
    done = home.run("-f", "json", "replication-status", "main", *options)
    found = json.loads(done.out)
    assert done.rc == 1
    assert found["main"] == {}
    assert found["_ERROR"] == ["Unable to connect to server main"]
    console = home.run("replication-status", "main", *options)
    assert (console.rc, console.out) == (1, "")
    assert "Unable to connect to server main" in console.err


def test_a_manifest_is_generated_for_no_server_that_is_switched_off_and_its_processes_can_be_ended(tmp_path):
    inactive, disabled = _home(tmp_path, active="false"), _home(tmp_path, conninfo="")
    for home in (inactive, disabled):
        add_backup(home.catalog, A)
        ended = home.run("terminate-process", "main", "receive-wal")
        assert ended.rc == 1
        assert "Termination of receive-wal failed: no such process for server main" in ended.err
        assert home.run("list-processes", "main").out == "No active subprocesses found for server main.\n"
        assert "WAL archive check for server main passed" in home.run("check-wal-archive", "main").out
    done = inactive.run("generate-manifest", "main", A)
    assert (done.rc, done.out) == (0, "Skipping inactive server 'main'\n")
    done = disabled.run("generate-manifest", "main", A)
    assert done.rc == 1
    assert "conninfo" in done.err
