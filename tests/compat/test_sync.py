"""Passive nodes of ours and of the original, each of a primary of the other: the same files, the same records.

The oracle is a server: what a passive node calls good is restored, started, and its ledger compared.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection

import pytest

from tests.support.fix_homes import ORIGINAL, OURS, ActiveServer, Home, Homes
from tests.support.fix_postgres import ClusterFactory, wait_until

IDS = ("20261120T100000", "20261120T110000")
NOWHERE = {"conninfo": "host=/nowhere", "streaming_conninfo": "host=/nowhere", "archiver": "on"}


def compare_files(passive: Home, primary: Home) -> tuple[int, int]:
    """Every file of every backup and of the archive is on both sides, byte for byte; return how many of each."""
    wals = primary.wals("pg")
    assert passive.wals("pg") == wals
    assert {line[0] for line in passive.indexed("pg")} == {os.path.basename(name) for name in wals}
    files = 0
    for backup in primary.backups("pg"):
        expected = primary.base("pg", backup)
        assert passive.base("pg", backup) == expected, backup
        files += sum(digest != "/" for digest in expected.values())
    return files, len(wals)


def differing(passive: Home, primary: Home, backups: Collection[str], server: str = "pg") -> set[str]:
    """The keys in which records differ."""
    found = set()
    for backup in backups:
        record, copied = primary.records(server)[backup], passive.records(server)[backup]
        found |= {key for key in record.keys() | copied.keys() if record.get(key) != copied.get(key)}
    return found


def wal_sizes(home: Home, server: str) -> dict[str, int]:
    """Backup → bytes of WAL until the next one."""
    shown = json.loads(home.run("-f", "json", "list-backups", server).ok().out)[server]
    return {item["backup_id"]: item["wal_size_bytes"] for item in shown}


def test_passive_nodes_of_both_programs_have_what_primaries_of_both_have_and_are_handed_over_and_back(
    homes: Homes, pg_factory: ClusterFactory, record_property: pytest.RecordProperty
) -> None:
    """Hashes of all files, records key by key, and each node restored after the other program has worked on it."""
    a, ours, theirs = homes.create("primary"), homes.create("ours"), homes.create("theirs", ORIGINAL)
    primary = ActiveServer(a, pg_factory, "18", summarize_wal="on")
    primary.configure(ORIGINAL)
    backups = [primary.back_up()]
    primary.configure(OURS)
    backups.append(primary.back_up("--incremental", "latest"))
    primary.configure(OURS, backup_compression="gzip", backup_compression_format="tar")
    backups.append(primary.back_up())
    compressions = ("gzip", "zstd", "bzip2", "xz", "lz4")
    for number, compression in enumerate(compressions):
        primary.configure((OURS, ORIGINAL)[number % 2], compression=compression)
        primary.archive(compression)
    common = {"compression": "lz4", "path_prefix": primary.pg.bindir}
    ours.follow(a, "pg", compression_level="high", reuse_backup="link", **common)
    theirs.follow(a, "pg", reuse_backup="link", **common)

    primary.configure(ORIGINAL, compression="lz4")
    ours.catch_up(a, "pg")
    files, wals = compare_files(ours, a)
    told = re.findall(r" is copied: (\d+) files \((\d+) bytes\)", ours.log_text())
    assert sum(int(count) for count, _ in told) == files
    assert {line[3] for line in ours.indexed("pg")} == {"None", *compressions}
    assert sorted(line[0] for line in ours.indexed("pg")) == sorted(map(os.path.basename, a.wals("pg")))  # D12
    assert differing(ours, a, backups) == set()  # D9, D10
    record_property("files", files)
    record_property("bytes", sum(int(size) for _, size in told))
    record_property("wals", wals)

    primary.configure(OURS, compression="lz4")
    assert theirs.catch_up(a, "pg") == len(backups)
    assert compare_files(theirs, a) == (files, wals)
    assert differing(theirs, a, backups) == {"children_backup_ids", "mode"}  # and the label, when it asks its like

    ours.use(ORIGINAL)
    theirs.use(OURS)
    primary.configure(OURS, compression="lz4", backup_method="local-rsync", reuse_backup="link")
    backups.append(primary.back_up())
    primary.archive("handed over")
    ours.catch_up(a, "pg")
    theirs.catch_up(a, "pg")
    ours.use(OURS)
    theirs.use(ORIGINAL)
    primary.archive("and back")
    ours.catch_up(a, "pg")
    theirs.catch_up(a, "pg")
    assert compare_files(ours, a) == compare_files(theirs, a)

    theirs.use(OURS)
    rows = primary.pg.ledger()
    primary.pg.destroy()
    # A chain that our node has copied, and what it copied when it was theirs.
    for passive, backup in ((ours, backups[1]), (theirs, backups[-1])):
        assert primary.recovered(passive, backup) == rows


def test_what_a_passive_node_of_the_original_has_left_is_read_right_and_completed(homes: Homes) -> None:
    primary, passive = homes.create("primary", ORIGINAL), homes.create("passive", ORIGINAL)
    for server in ("chain", "single"):
        primary.add_server(server, None, **NOWHERE)
        passive.follow(primary, server)
    primary.put_backup("single", IDS[0], 4)
    primary.put_backup("chain", IDS[0], 4, version=170010, summarize_wal="on", children_backup_ids=(IDS[1],))
    primary.put_backup("chain", IDS[1], 6, version=170010, summarize_wal="on", parent_backup_id=IDS[0])
    primary.put_wal_files("chain", {"00000002.history": b"1\t0/900000\tno reason\n"})
    passive.cron(times=2).ok()
    primary.put_wal("chain", 8)
    (late,) = primary.put_wal("chain", 5)
    stuck = passive.cron()

    # The original's defects are there, else this shows nothing.
    assert "'0' is not a valid positive integer" in stuck.err  # D11
    assert "sync-info is out of sync. Self-recovery procedure started" in stuck.err  # D13
    root = passive.records("chain")[IDS[0]]
    assert root["backup_label"].startswith("\"'START WAL")  # D9
    assert root["children_backup_ids"] == ",".join(IDS[1])  # D10
    indexed = [line[0] for line in passive.indexed("chain")]
    assert len(indexed) == 2 * len(set(indexed)) == 2 * len(passive.wals("chain"))  # D12
    missing = {os.path.basename(name) for name in primary.wals("chain").keys() - passive.wals("chain").keys()}
    assert late in missing

    # A passive node of ours behind it: label and children come out right again.
    third = homes.create("third")
    third.follow(passive, "chain")
    third.run("sync-info", "--primary", "chain").ok()
    for backup in IDS:
        third.run("sync-backup", "chain", backup).ok()
    third.run("sync-wals", "chain").ok()
    assert third.wals("chain") == passive.wals("chain")
    assert len(third.indexed("chain")) == len(third.wals("chain"))
    assert differing(third, primary, IDS, "chain") <= {"mode", "deduplicated_size", "status"}

    passive.use(OURS)
    passive.catch_up(primary, "chain")
    assert passive.catch_up(primary, "single") == 1
    primary.use(OURS)
    for server in ("chain", "single"):
        assert wal_sizes(passive, server) == wal_sizes(primary, server)
        # Handed back, the original is not stuck again.
        position = passive.path(server, "wals", "sync-wals.info").read_text().split("\t")[1]
        assert int(position) > 0, server
    passive.run("delete", "chain", IDS[0]).ok()
    assert passive.backups("chain") == {}


def test_neither_program_copies_what_the_other_one_is_copying(homes: Homes) -> None:
    primary, passive = homes.create("primary"), homes.create("passive")
    primary.add_server("main", None, **NOWHERE)
    passive.follow(primary, "main", bandwidth_limit="700", basebackup_retry_sleep="0")
    for number, (backup, copier, other) in enumerate(((IDS[0], OURS, ORIGINAL), (IDS[1], ORIGINAL, OURS)), 4):
        primary.put_backup("main", backup, number, size=1_000_000)
        passive.use(copier)
        passive.run("cron").ok()
        base = passive.path("main", "base", backup, "data", "base", "1")
        wait_until(lambda place=base: any(place.glob("*")), "files come", 60)
        passive.use(other)
        done = passive.run("cron").ok()
        assert f"A synchronisation process for backup {backup} on server main is already in progress" in done.out
        passive.wait_idle()
        assert passive.base("main", backup) == primary.base("main", backup)
