"""`config-switch` and `config-update` as users run them, alone and at once; cron's part of both."""

import json

import pytest

from tests.support.offline import OfflineHome

MODELS = """
[standby]
model = on
cluster = main
conninfo = host=/nonexistent/standby password=s3cret
slot_name = standby
[other]
model = on
cluster = main
archiver = off
streaming_archiver = off
description = Other
[foreign]
model = on
cluster = elsewhere
conninfo = host=x
[second]
backup_method = postgres
archiver = on
conninfo = host=/nonexistent
streaming_conninfo = host=/nonexistent
"""


@pytest.fixture
def home(tmp_path):
    home = OfflineHome(tmp_path)
    with home.config_file.open("a") as file:
        file.write(MODELS)
    return home


def live(home, name="main"):
    return json.loads(home.run("diagnose").out)["servers"][name]


def active(home):
    path = home.directory / "main" / ".active-model.auto"
    return path.read_text() if path.exists() else None


def test_a_model_is_applied_told_and_remembered(home):
    done = home.run("config-switch", "main", "standby")
    assert done.rc == 0, done.said
    lines = done.out.splitlines()
    assert lines[0] == "Applying model 'standby' to server 'main'"
    change = "Changing value of option '{}' for server 'main' from '{}' to '{}' through the model 'standby'"
    assert lines[1].startswith(change.format("conninfo", "host=/nonexistent", "host=/nonexistent/standby")[:60])
    assert lines[2] == change.format("slot_name", "None", "standby")
    assert "s3cret" not in done.said
    assert active(home) == "standby"
    assert live(home)["active_model"] == "standby"
    again = home.run("config-switch", "main", "standby")
    assert again.out.splitlines()[0] == "Model 'standby' is already active for server 'main', skipping..."


def test_another_model_replaces_the_first_and_what_only_that_one_set(home):
    home.run("config-switch", "main", "standby")
    done = home.run("config-switch", "main", "other")
    assert "option 'description' for server 'main' from 'None' to 'Other'" in done.out
    assert "option 'slot_name' for server 'main' from 'standby' to 'None'" in done.out
    assert active(home) == "other"
    assert live(home)["config"]["slot_name"] is None


def test_reset_wins_over_a_model_and_may_be_repeated(home):
    home.run("config-switch", "main", "standby")
    for words in (["other", "--reset"], ["--reset"]):
        done = home.run("config-switch", "main", *words)
        assert (done.rc, done.out) == (0, "Resetting the active model for the server main\n")
        assert active(home) is None


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["main"], "ERROR: Either a model name or '--reset' flag need to be given"),
        (["main", "nobody"], "ERROR: Unknown model 'nobody'"),
        (["main", "second"], "ERROR: Unknown model 'second'"),
        (
            ["main", "foreign"],
            "ERROR: Model 'foreign' has 'cluster=elsewhere', which is not compatible with 'cluster=main'",
        ),
        (["main", ""], "ERROR: Unknown model ''"),
        (["main", "../standby"], "ERROR: Unknown model"),
        (["nobody", "standby"], "ERROR: Unknown server 'nobody'"),
        (["standby", "standby"], "ERROR: Unknown server 'standby'"),
        (["all", "standby"], "ERROR: you cannot use 'all'"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused(home, words, reason):
    home.run("config-switch", "main", "other")
    done = home.run("config-switch", *words)
    assert done.rc == 1
    assert reason in done.err
    assert active(home) == "other"


def test_a_server_without_a_directory_yet_gets_its_model(home):
    with home.config_file.open("a") as file:
        file.write("[mine]\nmodel = on\ncluster = second\nactive = off\n")
    assert home.run("config-switch", "second", "mine").rc == 0
    assert (home.directory / "second" / ".active-model.auto").read_text() == "mine"


def test_an_update_is_in_the_file_and_told(home):
    changes = json.dumps([{"scope": "server", "server_name": "main", "description": "New", "archiver": "off"}])
    done = home.run("config-update", changes)
    assert done.rc == 0, done.said
    text = "Changing value of option '{}' for section 'main' from '{}' to '{}' through config-update.\n"
    assert done.out == text.format("description", "None", "New") + text.format("archiver", "on", "off")
    assert live(home)["config"]["description"] == "New"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ("nonsense", "ERROR: the configuration changes are not valid JSON"),
        ('[{"scope": "server", "server_name": "main", "archiver": "perhaps"}]', "ERROR: Validation failed for server"),
    ],
)
def test_a_bad_update_ends_with_1_and_changes_nothing(home, changes, reason):
    before = home.config_file.read_text()
    done = home.run("config-update", changes)
    assert done.rc == 1
    assert done.err.startswith(reason)
    assert home.config_file.read_text() == before
    assert "Traceback" not in home.log_file.read_text()


def test_updates_at_once_are_all_there_in_the_end(home):
    options = {"description": "D", "minimum_redundancy": "3", "slot_name": "s", "basebackup_retry_times": "7"}
    running = [
        home.start("config-update", json.dumps([{"scope": "server", "server_name": name, key: value}]))
        for key, value in options.items()
        for name in ("main", "second")
    ]
    for one in running:
        _, err = one.communicate(timeout=60)
        assert one.returncode == 0, err
    for name in ("main", "second"):
        config = live(home, name)["config"]
        assert {key: str(config[key]) for key in options} == options
    assert json.loads((home.directory / "cfg_changes.queue").read_text()) == []


def test_cron_applies_what_waits_before_it_looks_at_the_servers(home):
    change = {"key": "active", "value": "no", "config_file": str(home.config_file)}
    queue = home.directory / "cfg_changes.queue"
    queue.write_text(json.dumps([{"section": "main", "changes_set": [change]}]))
    done = home.run("cron")
    assert done.rc == 0, done.said
    assert "Changing value of option 'active' for section 'main' from 'None' to 'no'" in done.out
    assert "Starting WAL archiving for server main" not in done.out
    assert "Starting WAL archiving for server second" in done.out
    assert json.loads(queue.read_text()) == []


def test_a_dry_run_of_cron_tells_that_changes_wait_and_leaves_them(home):
    change = {"key": "active", "value": "no", "config_file": str(home.config_file)}
    queue = home.directory / "cfg_changes.queue"
    queue.write_text(json.dumps([{"section": "main", "changes_set": [change]}]))
    before = queue.read_bytes(), home.config_file.read_bytes()
    done = home.run("cron", "--dry-run")
    assert done.rc == 0, done.said
    assert done.out.startswith("Changes of the configuration wait in the queue")
    assert (queue.read_bytes(), home.config_file.read_bytes()) == before


def test_cron_tells_what_cannot_be_applied_and_serves_the_servers_all_the_same(home):
    change = {"key": "active", "value": "perhaps", "config_file": str(home.config_file)}
    (home.directory / "cfg_changes.queue").write_text(json.dumps([{"section": "main", "changes_set": [change]}]))
    done = home.run("cron")
    assert done.rc == 1
    assert "ERROR: Unable to process a set of changes. Exiting." in done.err
    assert "Starting WAL archiving for server second" in done.out
