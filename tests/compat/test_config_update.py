"""The configuration changed by one program and read by the other, and what both say about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from barman.config.queue import Change, ChangeSet, write_queue
from tests.support.fix_upstream import INACTIVE_SERVER, Upstream, write_config
from tests.support.offline import run_here

# Without a receiver: nothing is started, and nothing needs a PostgreSQL.
SERVER = {**INACTIVE_SERVER, "streaming_archiver": "off", "archiver": "on"}
MODEL = {"model": "on", "cluster": "pg", "conninfo": "host=/model", "slot_name": "of_model"}
OTHER_MODEL = {"model": "on", "cluster": "pg", "description": "By another model"}


class Both:
    """The same configuration twice, one for each program."""

    def __init__(self, root: Path, upstream_program: str) -> None:
        self.homes = {name: root / name for name in ("ours", "theirs")}
        for home in self.homes.values():
            (home / "pg").mkdir(parents=True)
            sections = {"pg": SERVER, "pg:model": MODEL, "pg:other": OTHER_MODEL}
            write_config(str(home), sections, minimum_redundancy="1")
        self._upstream_program = upstream_program

    def run(self, program: str, home: str, *words: str) -> tuple[int, str, str]:
        """Exit code and both streams, without the names of the homes."""
        directory = self.homes[home]
        config_file = directory / "barman.conf"
        if program == "ours":
            ran = run_here(config_file, directory, *words)
            said = (ran.rc, ran.out, ran.err)
        else:
            done = Upstream(self._upstream_program, str(config_file)).run(*words, check=False)
            said = (done.code, done.out, done.err)
        return said[0], said[1].replace(str(directory), "HOME"), said[2].replace(str(directory), "HOME")

    def at_home(self, *words: str) -> tuple[tuple[int, str, str], tuple[int, str, str]]:
        """Both programs, each at its own."""
        return self.run("ours", "ours", *words), self.run("theirs", "theirs", *words)

    def servers(self, program: str, home: str) -> dict[str, Any]:
        """The servers as a program reads their configuration."""
        code, out, err = self.run(program, home, "diagnose", "--show-config-source")
        assert code == 0, err
        found: dict[str, Any] = json.loads(out)["servers"]
        return found


@pytest.fixture
def both(tmp_path: Path, upstream_program: str) -> Both:
    return Both(tmp_path, upstream_program)


def update(**options: str) -> str:
    return json.dumps([{"scope": "server", "server_name": "pg", **options}])


def test_an_update_says_and_writes_the_same(both: Both) -> None:
    requests = [
        update(description="New", minimum_redundancy="3"),
        update(basebackup_retry_times="7", compression="gzip"),
        json.dumps(
            [
                {"scope": "server", "server_name": "new", "active": "off", "conninfo": "host=/new", "archiver": "on"},
                {"scope": "model", "model_name": "new:model", "cluster": "new", "description": "M"},
                {"scope": "model", "model_name": "pg:model", "slot_name": "changed"},
            ]
        ),
    ]
    for request in requests:
        ours, theirs = both.at_home("config-update", request)
        assert ours == theirs

    found = [both.servers(*places) for places in (("ours", "ours"), ("theirs", "ours"), ("ours", "theirs"))]
    for server in ("pg", "new"):
        wanted = ("description", "minimum_redundancy", "basebackup_retry_times", "compression", "conninfo", "active")
        shown = [{name: one[server]["config"][name] for name in wanted} for one in found]
        assert all(one == shown[0] for one in shown)
    queues = [(home / "cfg_changes.queue").read_text() for home in both.homes.values()]
    assert queues == ["[]", "[]"]


def test_either_program_goes_on_where_the_other_one_stopped(both: Both) -> None:
    for number, (program, home) in enumerate([("theirs", "ours"), ("ours", "ours")]):
        changes = update(
            basebackup_retry_times=str(number), slot_name=f"slot_{number}", description=f"By {program} {number}"
        )
        assert both.run(program, home, "config-update", changes)[0] == 0
        read = [both.servers(reader, home)["pg"]["config"]["slot_name"] for reader in ("ours", "theirs")]
        assert read[0] == read[1]
        assert read[0]["value"] == f"slot_{number}"


def test_the_cron_of_the_original_finishes_what_we_queued(both: Both) -> None:
    home = both.homes["ours"]
    change = Change("description", "By the queue", str(home / ".barman.auto.conf"))
    write_queue(str(home / "cfg_changes.queue"), [ChangeSet("pg", (change,))])
    assert both.run("theirs", "ours", "cron")[0] == 0
    assert both.servers("ours", "ours")["pg"]["config"]["description"]["value"] == "By the queue"
    assert (home / "cfg_changes.queue").read_text() == "[]"


def test_a_model_is_switched_with_the_same_words(both: Both) -> None:
    for words in (["pg", "pg:model"], ["pg", "pg:model"], ["pg", "pg:other"], ["pg", "--reset"], ["pg", "--reset"]):
        ours, theirs = both.at_home("config-switch", *words)
        # The options of a model that is replaced go back to the server's: we say so.
        back = [line for line in ours[1].splitlines() if "'pg:other'" in line and "'host=/model'" in line]
        back += [line for line in ours[1].splitlines() if "'pg:other'" in line and "'of_model'" in line]
        assert len(back) == (2 if words[1] == "pg:other" else 0)
        assert sorted(set(ours[1].splitlines()) - set(back)) == sorted(theirs[1].splitlines()), words
        assert (ours[0], ours[2]) == (theirs[0], theirs[2]), words
        active = [home / "pg" / ".active-model.auto" for home in both.homes.values()]
        assert active[0].exists() == active[1].exists()
        assert not active[0].exists() or active[0].read_bytes() == active[1].read_bytes()


@pytest.mark.parametrize(
    "request_text",
    [
        "[{}]",
        '[{"scope": "server"}]',
        '[{"scope": "server", "server_name": "pg:model", "x": "1"}]',
        '[{"scope": "model", "model_name": "n", "x": "1"}]',
        '[{"scope": "server", "server_name": "pg", "x": "1"}]',
        '[{"scope": "server", "server_name": "pg", "archiver": "x"}]',
    ],
)
def test_a_bad_object_is_refused_with_the_same_words(both: Both, request_text: str) -> None:
    ours, theirs = both.at_home("config-update", request_text)
    assert ours == theirs
    assert not list(both.homes["ours"].glob("**/cfg_changes.queue"))


@pytest.mark.parametrize(
    "words",
    [["pg"], ["pg", "nobody"], ["pg", "pg"], ["nobody", "pg:model"], ["pg:model", "pg:model"], ["pg", "foreign"]],
)
def test_a_bad_switch_is_refused_with_the_same_words(both: Both, words: list[str]) -> None:
    for home in both.homes.values():
        with (home / "barman.conf").open("a") as file:
            file.write("[foreign]\nmodel = on\ncluster = x\n")
    ours, theirs = both.at_home("config-switch", *words)
    assert [line for line in ours[2].splitlines() if not line.startswith("HINT: ")] == theirs[2].splitlines()
    assert ours[:2] == theirs[:2]
