"""Hook scripts are told the same by the original and by us, around everything that can be done with a real server."""

from __future__ import annotations

import gzip
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.fix_postgres import BarmanHome, Cluster, ClusterFactory
from tests.support.fix_upstream import Upstream
from tests.support.listener import ALL, Call, Listener

Run = Callable[..., str]
Variables = tuple[tuple[str, str], ...]
Told = dict[str, set[Variables]]


class Story:
    """One server, driven by one program after the other from an empty repository."""

    def __init__(self, home: BarmanHome, cluster: Cluster, directory: Path) -> None:
        self.home = home
        self.cluster = cluster
        self.directory = directory
        self.listener = Listener(directory / "listener")
        cluster.configure(archive_mode="on", archive_command=home.accept_wal("pg"))
        cluster.restart()
        space = directory / "space"
        space.mkdir()
        os.chown(space, cluster.data.stat().st_uid, cluster.data.stat().st_gid)
        cluster.sql(f"CREATE TABLESPACE space LOCATION '{space}'")

    def tell(self, run: Run) -> Told:
        """Do everything, and return what each script was told: places, times, ids and WAL made comparable."""
        shutil.rmtree(self.home.path("pg"), ignore_errors=True)
        self.home.accept_wal("pg")
        for name in ("restored", "moved"):
            shutil.rmtree(self.directory / name, ignore_errors=True)
        self.configure()
        run("switch-wal", "--force", "--archive", "pg")
        run("backup", "pg", "--wait")
        self.cluster.sql("SELECT pg_create_restore_point('here')")
        run("switch-wal", "--force", "--archive", "pg")
        run("backup", "pg", "--wait")
        ids = sorted(run("list-backups", "--minimal", "pg").split())
        self.restore(run, ids[0])
        run("delete", "pg", ids[0])
        self.duplicates(run)
        self.configure(pre_backup_retry_script="exit 63")
        run("backup", "pg", code=1)
        self.configure(pre_recovery_retry_script="exit 63")
        run(
            "restore",
            "pg",
            ids[1],
            str(self.directory / "no"),
            "--tablespace",
            f"space:{self.directory}/no-space",
            code=1,
        )
        assert not (self.directory / "no").exists()
        ids.append(max(run("list-backups", "--minimal", "pg").split()))
        return self.comparable(self.listener.calls(), ids)

    def configure(self, **options: str) -> None:
        quick = {"immediate_checkpoint": "true", "compression": "gzip"}
        self.home.add_server("pg", self.cluster, archiver="on", **quick, **self.listener.options(**options))

    def restore(self, run: Run, backup: str) -> None:
        moved = ("--tablespace", f"space:{self.directory}/moved")
        target = ("--target-name", "here", "--target-action", "pause", "--target-tli", "1")
        run("restore", "pg", backup, str(self.directory / "restored"), *moved, *target)

    def duplicates(self, run: Run) -> None:
        """Hand over a file that is archived, and then another one under its name."""
        newest = max(path for path in self.home.path("pg", "wals").rglob("0*") if len(path.name) == 24)
        content = gzip.decompress(newest.read_bytes())
        for data in (content, content[:-1] + b"x"):
            incoming = self.home.path("pg", "incoming", newest.name)
            incoming.write_bytes(data)
            run("archive-wal", "pg", code=None)

    def comparable(self, calls: list[Call], ids: list[str]) -> Told:
        names = {backup_id: f"<backup {number}>" for number, backup_id in enumerate(ids)}
        told: Told = {}
        for call in calls:
            assert call.pop("VERSION")[0] == "3"
            if "TIMESTAMP" in call:
                assert re.fullmatch(r"\d{10}\.\d+", call.pop("TIMESTAMP"))
            if call.get("COMPRESSION"):
                assert 0 < int(call.pop("SIZE")) < 1 << 23
            option = f"{call['PHASE']}_{call['HOOK']}"
            told.setdefault(option, set()).add(tuple((key, plain(call[key], names)) for key in sorted(call)))
        return told


def plain(value: str, names: dict[str, str]) -> str:
    for backup_id, name in names.items():
        value = value.replace(backup_id, name)
    value = re.sub(r"\b0000000[0-9A-F]{17}(?=\b)", "<segment>", value)
    return re.sub(r"time=[0-9.]+\)", "time=<time>)", value)


def without_error(call: Variables) -> Variables:
    return tuple((name, "" if name == "ERROR" else value) for name, value in call)


@pytest.fixture
def story(pg_factory: ClusterFactory, barman_home: BarmanHome) -> Story:
    return Story(barman_home, pg_factory.create("15"), pg_factory.scratch())


def test_every_script_is_told_the_same_by_both_programs(story: Story, upstream_program: str) -> None:
    original = Upstream(upstream_program, str(story.home.config_file))

    def theirs(*arguments: str, code: int | None = 0) -> str:
        ran = original.run(*arguments, check=False)
        assert code in (None, ran.code), f"{arguments}: {ran}"
        return ran.out

    def ours(*arguments: str, code: int | None = 0) -> str:
        ran = story.home.run(*arguments)
        assert code in (None, ran.rc), f"{arguments}: {ran}"
        return ran.out

    expected = story.tell(theirs)
    found = story.tell(ours)
    assert set(expected) == set(ALL)
    # On purpose: the plain script after archiving hears of duplicates, too, not the retry script alone.
    errors = {dict(call)["ERROR"].partition(":")[0] for call in found["post_archive_script"]}
    assert errors == {"", "MatchingDuplicateWalFile", "DuplicateWalFile"}
    found["post_archive_script"] = {without_error(call) for call in found["post_archive_script"]}
    for option, calls in expected.items():
        assert found[option] == calls, option
    assert found.keys() == expected.keys()
