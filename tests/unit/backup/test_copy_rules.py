import itertools
import random
import subprocess

import pytest

from barman.backup.copy_rules import Rule, wants
from barman.postgres.data_directory import LEFT_OUT_EVERYWHERE, LEFT_OUT_OF_PGDATA
from tests.support.needs import need_program

PGDATA_RULES = tuple(Rule(False, pattern) for pattern in (*LEFT_OUT_OF_PGDATA, *LEFT_OUT_EVERYWHERE))
TABLESPACE_RULES = (Rule(True, "/PG_15_*"), Rule(False, "/*"), *(Rule(False, text) for text in LEFT_OUT_EVERYWHERE))


@pytest.mark.parametrize(
    "path",
    [
        "base/1/1259",
        "base/1/t_not_temporary",
        "base/1/16384_init",
        "pg_wal",
        "log",
        "pg_replslot",
        "global/pg_filenode.map",
        "backup_label.old",
        "recovery.signal",
        "pg_stat/pgstat.stat",
        "base/16384/16385.1",
        "pg_xact/0000",
        "pgsql_temp_of_mine/pgsql_tm",
    ],
)
def test_what_a_cluster_needs_is_copied(path):
    assert wants(PGDATA_RULES, path)


@pytest.mark.parametrize(
    "path",
    [
        "pg_wal/000000010000000000000001",
        "pg_wal/archive_status/x.ready",
        "log/postgresql.log",
        "global/pg_control",
        "postmaster.pid",
        "standby.signal",
        "base/pgsql_tmp",
        "base/pgsql_tmp/pgsql_tmp1.1",
        "base/1/pg_internal.init",
        "base/16384/t3_16400",
        "base/16384/t3_16400.1",
        "pg_replslot/slot/state",
        "pg_stat_tmp/global.stat",
        "recovery.conf",
        "postgresql.auto.conf.tmp",
    ],
)
def test_what_another_server_must_not_have_is_left_out(path):
    assert not wants(PGDATA_RULES, path)


def test_a_tablespace_has_only_the_directory_of_its_version():
    assert wants(TABLESPACE_RULES, "PG_15_202209061/16384/16400")
    assert not wants(TABLESPACE_RULES, "PG_14_202107181/16384/16400")
    assert not wants(TABLESPACE_RULES, "notes.txt")
    assert not wants(TABLESPACE_RULES, "PG_15_202209061/16384/t3_16400")


def test_a_rule_is_written_in_the_words_of_rsync():
    assert [rule.text for rule in TABLESPACE_RULES[:2]] == ["+ /PG_15_*", "- /*"]


def make_tree(root, chance):
    names = [
        "base",
        "global",
        "16384",
        "1",
        "t3_16400",
        "t3_1.1",
        "pg_wal",
        "log",
        "pgsql_tmp1",
        "x.init",
        "pg_internal.init",
    ]
    names += [
        "PG_15_2022",
        "PG_1",
        "pg_control",
        "postmaster.pid",
        "recovery.conf",
        "pg_stat_tmp",
        "a*b",
        "[x]",
        "axb",
        "t_x",
    ]
    for _ in range(80):
        parts = chance.choices(names, k=chance.randrange(1, 5))
        directory = root.joinpath(*parts[:-1])
        if any(parent.is_file() for parent in [directory, *directory.parents]):
            continue
        directory.mkdir(parents=True, exist_ok=True)
        if not (directory / parts[-1]).exists():
            (directory / parts[-1]).write_text("x")


@pytest.mark.parametrize("seed", range(12))
def test_rsync_agrees_about_every_path(tmp_path, seed):
    need_program("rsync")
    chance = random.Random(seed)
    make_tree(tmp_path / "source", chance)
    patterns = [
        "/base/*",
        "a[*]b",
        "x",
        "**/1/t*",
        "/log",
        "16384/t3_*",
        "*.init",
        "/[a-p]*/[0-9]*",
        "?*x?",
        "base/**/1",
        "[!b]*_*",
    ]
    chosen = tuple(Rule(chance.random() < 0.3, pattern) for pattern in chance.sample(patterns, 5))
    for number, rules in enumerate((chosen, PGDATA_RULES, TABLESPACE_RULES)):
        copy = tmp_path / f"copy{number}"
        argv = ["rsync", "-r", *(f"--filter={rule.text}" for rule in rules), f"{tmp_path}/source/", str(copy)]
        subprocess.run(argv, check=True, capture_output=True)
        paths = {str(path.relative_to(tmp_path / "source")) for path in (tmp_path / "source").rglob("*")}
        copied = {str(path.relative_to(copy)) for path in copy.rglob("*")}
        assert {path for path in paths if wants(rules, path)} == copied, rules


def test_the_first_rule_that_matches_decides():
    for first, second in itertools.permutations([Rule(True, "/a"), Rule(False, "a")]):
        assert wants((first, second), "a") is first.take
