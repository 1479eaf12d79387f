"""Completion as bash asks for it: a process with the variables that argcomplete documents, which answers in a file."""

import os
import subprocess
import sys

import pytest

from tests.support.catalog_builder import add_backup
from tests.support.offline import OfflineHome

MODELS = "[m]\nmodel = on\ncluster = main\n[n]\nmodel = on\ncluster = other\n[second]\nconninfo = host=x\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = OfflineHome(tmp_path_factory.mktemp("completion"))
    with home.config_file.open("a") as file:
        file.write(MODELS)
    for number, backup_id in enumerate(("20260101T000000", "20260102T000000"), 1):
        add_backup(home.catalog, backup_id, begin=number, end=number, tablespaces=())
    return home


def complete(home, words, **variables):
    """What is proposed for the last of the words, in order."""
    line = f"barman {words}"
    answer = home.directory / "answer"
    answer.unlink(missing_ok=True)
    asked = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "BARMAN_CONFIG_FILE": str(home.config_file),
    }
    done = subprocess.run(
        [sys.executable, "-m", "barman"],
        env={**os.environ, **asked, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b"")
    return [proposal.strip() for proposal in answer.read_text().split("\n")]


def test_commands_and_global_options_are_proposed(home):
    assert complete(home, "config-") == ["config-switch", "config-update"]
    assert complete(home, "--log-l") == ["--log-level"]
    assert complete(home, "--format ") == ["console", "json"]


def test_options_and_choices_of_a_command_are_proposed(home):
    assert complete(home, "restore --target-t") == ["--target-time", "--target-tli"]
    assert complete(home, "keep --target ") == ["full", "standalone"]


def test_servers_are_proposed_and_all_as_the_first_of_several(home):
    proposed = complete(home, "show-backup ")
    assert [word for word in proposed if not word.startswith("-")] == ["main", "second"]
    proposed = complete(home, "status ")
    assert [word for word in proposed if not word.startswith("-")] == ["all", "main", "second"]
    proposed = complete(home, "status main ")
    assert [word for word in proposed if not word.startswith("-")] == ["second"]


def test_backups_come_newest_first_and_then_the_shortcuts(home):
    proposed = [word for word in complete(home, "show-backup main ") if not word.startswith("-")]
    assert proposed[:2] == ["20260102T000000", "20260101T000000"]
    assert proposed[2:] == ["latest", "last", "oldest", "first", "last-failed", "latest-full", "last-full"]
    assert complete(home, "recover main au") == ["auto"]
    assert complete(home, "backup --incremental 2026") == [""]  # no server yet


def test_shortcuts_are_not_proposed_where_nothing_is_to_be_found(home):
    assert complete(home, "delete second la") == [""]


def test_models_of_the_servers_cluster_are_proposed(home):
    assert [word for word in complete(home, "config-switch main ") if not word.startswith("-")] == ["m"]


def test_the_configuration_on_the_command_line_counts_and_a_bad_one_proposes_nothing(home, tmp_path):
    assert complete(home, f"-c {home.config_file} delete ma", BARMAN_CONFIG_FILE="/nonexistent") == ["main"]
    assert complete(home, "delete ma", BARMAN_CONFIG_FILE="/nonexistent") == [""]
