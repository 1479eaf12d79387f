"""config-update: what is asked for is in the files afterwards, durably, or nothing is."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from barman.catalog.locks import config_update_lock
from barman.config.loader import Settings, load_settings
from barman.config.update import ConfigUpdater, servers_concerned
from barman.errors import ConfigError
from barman.report import MemoryReporter
from tests.support.needs import small_disk

USER = pwd.getpwuid(os.geteuid()).pw_name
MAIN = """\
[barman]
barman_home = {root}/home
barman_user = {user}
configuration_files_directory = {root}/conf.d
minimum_redundancy = 1

[a]
conninfo = host=a password=s3cret
archiver = on
ssh_command = ssh a
backup_options = concurrent_backup
[b]
# of the other house
conninfo = host=b
archiver = on
ssh_command = ssh b
backup_options = concurrent_backup
"""
EXTRA = "[a]\ndescription = A\n[m]\nmodel = on\ncluster = a\nconninfo = host=m\n"


class Place:
    """A configuration of a main file, one more, and what programs write."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.main = root / "barman.conf"
        self.extra = root / "conf.d" / "a.conf"
        self.auto = root / "home" / ".barman.auto.conf"
        self.queue = root / "home" / "cfg_changes.queue"
        (root / "home").mkdir(exist_ok=True)
        self.extra.parent.mkdir(exist_ok=True)
        self.restore()

    def restore(self) -> None:
        self.main.write_text(MAIN.format(root=self.root, user=USER))
        self.extra.write_text(EXTRA)
        self.auto.unlink(missing_ok=True)
        self.queue.unlink(missing_ok=True)

    @property
    def settings(self) -> Settings:
        return load_settings(str(self.main), {})

    def files(self) -> dict[str, bytes]:
        return {
            str(path): path.read_bytes()
            for path in self.root.rglob("*")
            if path.is_file() and not path.name.endswith(".lock")
        }

    def update(self, *changes: Any, text: str | None = None) -> tuple[MemoryReporter, tuple[str, ...]]:
        reporter = MemoryReporter()
        return reporter, ConfigUpdater(self.settings, {}).update(text or json.dumps(changes), reporter)

    def finish(self) -> tuple[MemoryReporter, tuple[str, ...]]:
        reporter = MemoryReporter()
        return reporter, ConfigUpdater(self.settings, {}).finish(reporter)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def server(name: object, **options: object) -> dict[str, object]:
    return {"scope": "server", "server_name": name, **options}


def model(name: object, **options: object) -> dict[str, object]:
    return {"scope": "model", "model_name": name, **options}


def said(reporter: MemoryReporter, level: str) -> list[str]:
    return [text for spoken, text in reporter.lines if spoken == level]


def test_each_option_is_written_where_it_comes_from_and_a_default_into_the_file_of_programs(place: Place) -> None:
    reporter, changed = place.update(
        server("a", description="New", archiver="off", minimum_redundancy="3", slot_name="SLOT_A")
    )
    assert said(reporter, "error") == []
    assert changed == ("a",)
    assert place.extra.read_text() == EXTRA.replace("= A", "= New")
    wanted = "archiver = off\nssh_command = ssh a\nbackup_options = concurrent_backup\nminimum_redundancy = 3\n[b]"
    assert wanted in place.main.read_text()
    assert "# of the other house\nconninfo = host=b" in place.main.read_text()
    assert place.auto.read_text() == "[a]\nslot_name = SLOT_A\n"
    assert json.loads(place.queue.read_text()) == []
    config = place.settings.servers["a"]
    assert (config.description, config.minimum_redundancy, config.slot_name) == ("New", 3, "slot_a")
    assert place.settings.servers["b"].minimum_redundancy == 1


def test_each_change_is_told_with_the_old_value_and_without_passwords(place: Place) -> None:
    reporter, _ = place.update(server("a", description="New", conninfo="host=c password=other", slot_name="s"))
    text = "Changing value of option '{}' for section 'a' from '{}' to '{}' through config-update."
    assert said(reporter, "info")[0] == text.format("description", "A", "New")
    assert said(reporter, "info")[2] == text.format("slot_name", "None", "s")
    assert "host=a" in said(reporter, "info")[1]
    assert not any("s3cret" in line or "other" in line for line in said(reporter, "info"))


def test_new_servers_and_models_come_to_be_in_the_file_of_programs(place: Place) -> None:
    reporter, changed = place.update(
        server("Main DB: 1", conninfo="host=c", archiver="on", ssh_command="ssh c", backup_options="concurrent_backup"),
        model("n", cluster="b", conninfo="host=n"),
        model("n", slot_name="later"),
    )
    assert not reporter.failed
    assert changed == ("Main DB: 1", "n")
    assert not place.settings.servers["Main DB: 1"].disabled
    assert place.settings.models["n"].values == {"conninfo": "host=n", "slot_name": "later"}
    assert place.auto.stat().st_mode & 0o777 == 0o600
    assert place.queue.stat().st_mode & 0o777 == 0o600


def test_a_server_whose_model_changed_is_concerned(place: Place) -> None:
    directory = place.root / "home" / "a"
    directory.mkdir()
    (directory / ".active-model.auto").write_text("m")
    _, changed = place.update(model("m", conninfo="host=other"))
    assert changed == ("m",)
    assert servers_concerned(changed, place.settings) == ["a"]
    assert place.settings.servers["a"].conninfo == "host=other"


def test_a_file_of_somebody_else_is_left_alone_and_the_file_of_programs_wins(place: Place) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to somebody else")
    os.chown(place.extra, 1, 1)
    assert not place.update(server("a", description="New"))[0].failed
    assert place.extra.read_text() == EXTRA
    assert place.settings.servers["a"].description == "New"


def test_a_link_stays_one_and_permissions_stay(place: Place) -> None:
    real = place.root / "real.conf"
    place.extra.rename(real)
    real.chmod(0o640)
    place.extra.symlink_to(real)
    place.update(server("a", description="New"))
    assert place.extra.is_symlink()
    assert "description = New" in real.read_text()
    assert real.stat().st_mode & 0o777 == 0o640


def test_a_request_is_judged_by_what_the_files_say_now(place: Place) -> None:
    earlier = ConfigUpdater(place.settings, {})
    place.update(model("new", cluster="a"))
    reporter = MemoryReporter()
    assert earlier.update(json.dumps([server("new", archiver="on")]), reporter) == ()
    assert "'new' is a model, not a server" in said(reporter, "error")[0]


SAME_PATH = "backup_directory"
REFUSED: list[tuple[Callable[[Path], object], str]] = [
    (lambda _: 1, "it is not a JSON object"),
    (lambda _: ["scope"], "it is not a JSON object"),
    (lambda _: {}, "'scope' is invalid"),
    (lambda _: {"scope": ["server"]}, "'scope' is invalid"),
    (lambda _: {"scope": "server", "model_name": "a"}, "'server_name' is missing"),
    (lambda _: server("m", description="x"), "'m' is a model, not a server"),
    (lambda _: model("a", cluster="x"), "'a' is a server, not a model"),
    (lambda _: model("n", conninfo="x"), "'cluster' is missing"),
    (lambda _: model("n", cluster=""), "key 'cluster' ->"),
    (lambda _: server(5, archiver="on"), "it must be a text"),
    *(
        (lambda _, name=name: server(name, archiver="on"), "server_name")
        for name in ("", " a", "a\n[b", "a]", "x/../y")
    ),
    *((lambda _, name=name: server(name, archiver="on"), "reserved") for name in ("all", "barman", "DEFAULT", "..")),
    (lambda _: server("a", nonsense="1"), "Invalid option 'nonsense' for server 'a'"),
    (lambda _: server("a", ARCHIVER="on"), "Invalid option 'ARCHIVER'"),
    (lambda _: server("a", model="on"), "Invalid option 'model'"),
    (lambda _: server("a", disabled="on"), "Invalid option 'disabled'"),
    (lambda _: model("m", model="off"), "cannot be made a server"),
    (lambda _: model("m", backup_directory="/x"), "Invalid option 'backup_directory' for model 'm'"),
    (lambda _: server("a", archiver="perhaps"), "Validation failed for server 'a': key 'archiver' -> Invalid boolean"),
    (lambda _: server("a", archiver=""), "an empty value"),
    (lambda _: server("a", retention_policy="sometimes"), "key 'retention_policy'"),
    (lambda _: server("a", minimum_redundancy="-1"), "key 'minimum_redundancy'"),
    *((lambda _, value=value: server("a", archiver=value), "must be a text") for value in (True, 1, 1.5, None, [], {})),
    *(
        (lambda _, value=value: server("a", description=value), "one line without control characters")
        for value in ("x\n[b]\ndescription = y", "x\ry", "x\0y", "x\x85y", "x\u2028y", "\ud800")
    ),
    (lambda _: server("a", description="100%"), "'%' must be followed by"),
    (lambda _: server("a", description="%(nothing)s"), "not in the same section"),
    (lambda root: server("a", **{SAME_PATH: f"{root}/home/b"}), "Conflicting path"),
]


@pytest.mark.parametrize(("make", "reason"), REFUSED)
def test_a_bad_object_is_refused_with_its_reason_and_nothing_changes(
    place: Place, make: Callable[[Path], object], reason: str
) -> None:
    before = place.files()
    reporter, changed = place.update(server("b", description="good"), make(place.root))
    assert (changed, place.files()) == ((), before)
    first, second = said(reporter, "error")
    assert reason in first
    assert second.startswith("Aborting config\u2010update: invalid section ")


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "{}",
        '"a"',
        "[" * 100_000,
        '[{"scope": "server", "server_name": "a", "archiver": "on", "archiver": "off"}]',
        '[{"scope": "server", "server_name": "a", "archiver": ' + "1" * 5000 + "}]",
        "\ud800",
    ],
)
def test_what_is_no_list_of_objects_in_json_is_refused(place: Place, text: str) -> None:
    before = place.files()
    with pytest.raises(ConfigError, match="configuration changes are"):
        place.update(text=text)
    assert place.files() == before


def test_a_refusal_shows_the_object_without_its_secrets(place: Place) -> None:
    reporter, _ = place.update(
        server("a", conninfo="host=x password='two words'", encryption_passphrase_command="echo secret", nonsense={})
    )
    last = said(reporter, "error")[-1]
    assert "'server_name': 'a'" in last
    assert "'nonsense': <an object>" in last
    assert not any(word in last for word in ("two", "words", "echo"))


def test_changes_that_disable_a_server_are_made_and_told(place: Place) -> None:
    reporter, changed = place.update(server("a", ssh_command=""))
    assert changed == ("a",)
    assert any("server 'a' is disabled with these changes" in text for text in said(reporter, "warning"))


# --- the queue


def queued(section: str, file: Path, **options: str) -> dict[str, object]:
    changes = [{"key": key, "value": value, "config_file": str(file)} for key, value in options.items()]
    return {"section": section, "changes_set": changes}


def test_what_a_crash_left_in_the_queue_is_finished_by_the_next_cron(place: Place) -> None:
    place.queue.write_text(
        json.dumps([queued("a", place.extra, description="Q"), queued("b", place.auto, active="no")])
    )
    reporter, changed = place.finish()
    assert (reporter.failed, changed) == (False, ("a", "b"))
    assert place.settings.servers["a"].description == "Q"
    assert place.settings.servers["b"].active is False
    assert json.loads(place.queue.read_text()) == []
    assert place.finish()[0].lines == []


@pytest.mark.parametrize(
    ("section", "options"),
    [
        ("a", {"description": "x\n[b]\narchiver = off"}),
        ("a", {"nonsense": "1"}),
        ("barman", {"archiver": "on"}),
        ("a\n[b", {"archiver": "on"}),
        ("all", {"archiver": "on"}),
        ("a", {"model": "on"}),
    ],
)
def test_a_bad_change_in_the_queue_stays_and_blocks_what_is_behind_it(
    place: Place, section: str, options: dict[str, str]
) -> None:
    bad = queued(section, place.extra, **options)
    place.queue.write_text(json.dumps([bad, queued("b", place.auto, active="no")]))
    before = place.files()
    reporter, changed = place.finish()
    assert changed == ()
    assert place.files() == before
    assert said(reporter, "error")[-1] == "Unable to process a set of changes. Exiting."
    place.update(server("b", description="behind"))
    assert [item["section"] for item in json.loads(place.queue.read_text())] == [section, "b", "b"]
    assert place.settings.servers["b"].description is None


def test_a_queue_cannot_name_a_file_outside_the_configuration(place: Place) -> None:
    victim = place.root / "victim"
    place.queue.write_text(json.dumps([queued("a", victim, description="Q")]))
    assert place.finish()[1] == ("a",)
    assert not victim.exists()
    assert place.settings.servers["a"].description == "Q"


@pytest.mark.parametrize("content", ["", "nonsense", "{}", "[1]", '[{"section": 1, "changes_set": []}]', "[" * 100_000])
def test_a_damaged_queue_counts_as_empty_and_is_kept_for_looking(place: Place, content: str) -> None:
    place.queue.write_text(content)
    reporter, changed = place.finish()
    assert (reporter.failed, changed) == (False, ())
    assert str(place.queue) in said(reporter, "warning")[0]
    assert Path(f"{place.queue}.damaged").read_text() == content
    assert place.finish()[0].lines == []


def test_a_change_that_finds_the_disk_full_waits_for_room(place: Place) -> None:
    with small_disk(place.extra.parent, "64k"):
        place.restore()
        fill = place.extra.parent / "fill"
        with contextlib.suppress(OSError):
            fill.write_bytes(bytes(128 * 1024))
        reporter, changed = place.update(server("a", description="New"))
        assert changed == ()
        assert said(reporter, "error")[-1] == "Unable to process a set of changes. Exiting."
        assert "No space left" in said(reporter, "error")[0]
        assert place.extra.read_text() == EXTRA
        assert sorted(os.listdir(place.extra.parent)) == ["a.conf", "fill"]
        fill.unlink()
        assert place.finish()[1] == ("a",)
        assert place.settings.servers["a"].description == "New"


def test_cron_leaves_a_busy_queue_to_its_holder(place: Place) -> None:
    place.queue.write_text(json.dumps([queued("a", place.extra, description="Q")]))
    with config_update_lock(str(place.root / "home")):
        reporter, changed = place.finish()
    assert (reporter.failed, changed) == (False, ())
    assert len(said(reporter, "warning")) == 1
    assert place.finish()[1] == ("a",)
