"""A passive node over a real ssh: its way to the primary, what an active past left, and its promotion."""

from __future__ import annotations

import json

from tests.support.fix_homes import Home, Homes
from tests.support.fix_postgres import Cluster, wait_until


def lines(home: Home) -> dict[str, str]:
    """The lines of check by name."""
    found = home.run("check", "main").out.splitlines()[1:]
    return {name: rest for line in found for name, _, rest in [line.strip().partition(": ")]}


def failed(home: Home) -> dict[str, str]:
    return {name: rest for name, rest in lines(home).items() if rest.startswith("FAILED")}


def test_check_knows_the_way_to_the_primary_and_asks_nothing_else_of_it(homes: Homes) -> None:
    primary, node = homes.create("a"), homes.create("b")
    primary.add_server("main", archiver="on", conninfo="host=/nonexistent", streaming_conninfo="host=/nonexistent")
    primary.put_backup("main", "20260101T000000", 4)
    primary.put_wal("main", 5, 6)
    node.follow(primary, "main")
    found = failed(node)
    assert list(found) == ["primary node"]
    assert "run 'barman cron'" in found["primary node"]
    node.cron(times=3)
    found = lines(node)
    assert not [rest for rest in found.values() if not rest.startswith("OK")]
    assert found["ssh"] == "OK (Barman primary node)"
    assert found["minimum redundancy requirements"] == "OK (have 1 non-incremental backups, expected at least 0)"
    nagios = node.run("check", "--nagios", "main").ok().out
    assert nagios.startswith("BARMAN OK - Ready to serve the Espresso backup for main|main=4")
    assert nagios.rstrip().endswith(f"main_wals={2 << 20}B")
    before = homes.sshd.connections()
    status = json.loads(node.run("-f", "json", "status", "main").ok().out)["main"]
    assert (status["sync_wals"]["missing"], status["sync_backups"]["missing"]) == (0, [])
    node.run("metrics", "--no-checks", "main").ok()
    assert homes.sshd.connections() == before, "what lies on the disk tells it"

    primary.behave("echo Welcome")
    found = failed(node)
    assert list(found) == ["ssh output clean"]
    assert "it added 'Welcome'" in found["ssh output clean"]
    primary.behave("exit 255")
    node.run("cron")
    status = node.run("status", "main").ok().out
    assert "Last failure of the synchronisation: " in status
    found = failed(node)
    assert list(found) == ["ssh"], "a single run of cron without an answer is no alarm"
    assert "return code 255" in found["ssh"]


def test_a_node_that_was_active_is_passive_for_a_while_and_active_again(homes: Homes, newest_pg: Cluster) -> None:
    here, there = homes.create("a"), homes.create("b")
    streaming = {"streaming_archiver": "on", "archiver": "off", "create_slot": "auto"}
    here.add_server("main", newest_pg, slot_name="a", **streaming)
    there.add_server("main", newest_pg, slot_name="b", minimum_redundancy="1", **streaming)
    newest_pg.create_ledger()
    here.run("backup", "--wait", "main").ok()
    (copied,) = here.backups("main")
    there.run("cron")
    wait_until(lambda: list(there.path("main", "streaming").glob("*.partial")), "the receiver writes")

    # Passive: the receiver ends, and what it has received stays where it is.
    there.follow(here, "main", minimum_redundancy="1", **streaming)
    assert "passive node: stopping receive-wal" in there.cron().out
    assert "No active subprocesses" in there.run("list-processes", "main").out
    (left,) = there.path("main", "streaming").glob("*.partial")
    here.run("cron")
    wait_until(lambda: there.cron().rc == 0 and there.backups("main") == {copied: "DONE"}, "the backup is copied")
    found = failed(there)
    assert list(found) == ["left-over WAL"]
    assert f"first {left.name}" in found["left-over WAL"]
    assert (there.path("main", "identity.json")).exists()
    here.close()
    newest_pg.insert(10)

    # Active again: copied backups count, the receiver goes on with what it had, and the same cluster is known again.
    there.add_server(
        "main", newest_pg, slot_name="b", minimum_redundancy="2", retention_policy="REDUNDANCY 1", **streaming
    )
    there.run("cron")
    wait_until(lambda: there.run("list-processes", "main").out.count("receive-wal") == 1, "the receiver runs")
    found = lines(there)
    assert found["minimum redundancy requirements"].startswith("FAILED (have 1 non-incremental backups")
    assert found["systemid coherence"] == "OK"
    there.run("backup", "--wait", "main").ok()
    assert sorted(there.backups("main").values()) == ["DONE", "DONE"]
    there.run("check", "main").ok()
    refused = there.run("delete", "main", copied)
    assert "minimum redundancy requires 2 backups, 2 are present" in refused.err
    assert there.path("main", "wals", left.name[:16], left.stem).exists(), "what was received before is not lost"
    there.add_server("main", newest_pg, slot_name="b", retention_policy="REDUNDANCY 1", **streaming)
    assert there.run("list-backups", "main").ok().out.splitlines()[1].endswith("OBSOLETE")
    there.run("cron").ok()
    assert copied not in there.backups("main")
