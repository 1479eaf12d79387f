"""Asking the primary: what is asked, when everything is asked for, and what is said when it does not work."""

import os
import sys

import pytest

from barman.errors import SyncError, Unreachable
from barman.report import MemoryReporter
from barman.sync.primary import ask, ask_and_remember, require_other
from barman.sync.protocol import parse
from barman.sync.state import CONTACT, SyncPosition, note_facts, note_success, read_record, write_position
from tests.support.catalog_builder import add_backup, write
from tests.support.fix_postgres import REPOSITORY
from tests.unit.sync.documents import CONFIG, A, B, document, encode, make_home, open_server, record, segment

LAST = SyncPosition(segment(5), 44)


class Primary:
    """Another node: a door that takes the place of ssh, and a `barman` behind it that says what it is told to."""

    def __init__(self, directory, **options):
        self.directory = directory
        self.bin = directory / "there"
        self.bin.mkdir()
        door = directory / "door"
        # The last word is the command line for the other host's shell, as with ssh.
        door.write_text(f'#!/bin/sh\nfor last; do :; done\nPATH={self.bin}:$PATH exec sh -c "$last"\n')
        door.chmod(0o755)
        self.door = door
        self.home = make_home(directory / "home", primary_ssh_command=f"{door} there", **options)
        self.says(encode(document(record(A))))

    def says(self, answer, *, full=None, code=0, error=""):
        """`full` is the answer to a question without a position, where that is another one."""
        (self.bin / "part").write_bytes(answer)
        (self.bin / "full").write_bytes(answer if full is None else full)
        self.runs(f'echo "{error}" >&2\n[ $# -gt 2 ] && {{ cat part; exit {code}; }}\ncat full\n'
                  + (f"exit {code}\n" if full is None else ""))  # fmt: skip

    def runs(self, text):
        program = self.bin / "barman"
        program.write_text(f'#!/bin/sh\ncd {self.bin}\necho "$@" >> calls\n{text}')
        program.chmod(0o755)

    @property
    def calls(self):
        path = self.bin / "calls"
        found = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return found

    def ask(self, position=None, reporter=None, **options):
        with open_server(self.home) as server:
            return ask(server, position, reporter or MemoryReporter(), **options)

    def is_up_to_date(self, version="3.100.0"):
        """Everything was asked for a moment ago, for the backups that are here now."""
        layout = self.home.catalog.layout
        note_success(layout, CONTACT, primary_version=version)
        self.ask()
        write_position(layout, LAST, self.home.catalog.snapshot().backups)
        assert self.calls


@pytest.fixture(name="primary")
def fixture_primary(tmp_path):
    return Primary(tmp_path)


def test_the_primary_is_asked_by_the_name_of_the_server(primary):
    assert parse(primary.ask(), "main").last_name == segment(5)
    assert primary.calls == ["sync-info main"]


def test_the_own_configuration_file_is_named_where_it_is_to_be_forwarded(tmp_path):
    primary = Primary(tmp_path, forward_config_path="true")
    primary.ask()
    assert primary.calls == [f"-c {primary.home.config_file} sync-info main"]


def test_only_what_came_since_is_asked_for_when_that_is_enough(primary):
    primary.is_up_to_date()
    primary.ask(LAST)
    assert primary.calls == [f"sync-info main {segment(5)} 44"]
    primary.ask(SyncPosition(segment(5), 0))
    assert primary.calls == [f"sync-info main {segment(5)}"], "the original takes no position 0: D11"


def test_everything_is_asked_for_when_a_backup_came_whose_wal_was_never_copied(primary):
    add_backup(primary.home.catalog, B)
    primary.is_up_to_date()
    primary.ask(LAST)
    assert primary.calls == [f"sync-info main {segment(5)} 44"]
    add_backup(primary.home.catalog, A, status="SYNCING")
    for _ in range(2):
        primary.ask(LAST)
        assert primary.calls == ["sync-info main"], "until that WAL has been copied"


@pytest.mark.parametrize(("version", "patience"), [("3.19.1", 3600), ("3.20.1", 3600), ("3.100.0", 86400)])
def test_everything_is_asked_for_from_time_to_time(primary, version, patience):
    """The original does not tell of files that came late."""
    primary.is_up_to_date(version)
    layout = primary.home.catalog.layout
    asked_at = read_record(layout).full_at
    for age, call in ((patience - 60, f"sync-info main {segment(5)} 44"), (patience + 60, "sync-info main")):
        note_facts(layout, CONTACT, full_at=asked_at - age)
        primary.ask(LAST)
        assert primary.calls == [call]
    note_facts(layout, CONTACT, full_at=asked_at + 7200)
    primary.ask(LAST)
    assert primary.calls == ["sync-info main"], "a clock that went back"


@pytest.mark.parametrize("code", [1, 2])
def test_a_position_that_the_primary_rejects_is_given_up_and_that_is_told_once(primary, code):
    primary.is_up_to_date()
    everything = encode(document(record(A), record(B)))
    primary.says(b"", full=everything, code=code, error="ERROR: last_wal is older than the first available wal")
    reporter = MemoryReporter()
    assert primary.ask(LAST, reporter) == everything
    assert primary.calls == [f"sync-info main {segment(5)} 44", "sync-info main"]
    assert reporter.lines == [
        (
            "warning",
            "sync-info is out of sync. Self-recovery procedure started: requesting full synchronisation from primary "
            "server main",
        )
    ]


def test_an_answer_that_does_not_go_on_exactly_behind_the_position_is_asked_for_as_a_whole(primary):
    primary.is_up_to_date()
    everything = encode(document(record(A), record(B)))
    primary.says(encode(document(resumed=False)), full=everything)
    reporter = MemoryReporter()
    assert primary.ask(LAST, reporter) == everything
    assert reporter.lines == []
    exact = encode(document(resumed=True))
    primary.says(exact, full=everything)
    assert primary.ask(LAST) == exact


def test_an_exact_question_is_not_changed(primary):
    primary.says(encode(document(resumed=False)))
    primary.ask(LAST, exactly=True)
    assert primary.calls == [f"sync-info main {segment(5)} 44"]


def test_what_a_login_script_says_before_the_document_is_cut(primary):
    answer = encode(document(record(A)))
    primary.says(b"Welcome to {there}\n\n" + answer)
    assert primary.ask() == answer


FAILURES = {
    "it fails": ("echo 'ERROR: Unknown server main' >&2; exit 1", "failed: ERROR: Unknown server main", "sync-info"),
    "it fails silently": ("exit 4", "failed: status 4", "sync-info"),
    "it is no barman": ("echo hello", "the answer is not a document of sync-info: 'hello", "sync-info"),
    "it says nothing": ("true", "it is empty", "sync-info"),
    "it is not there": (None, "failed: ", "Install barman on the primary"),
    "a password in what it says": ("echo 'no password=sekrit' >&2; exit 1", "password=*REDACTED*", "sync-info"),
}


@pytest.mark.parametrize(("script", "text", "hint"), FAILURES.values(), ids=FAILURES)
def test_what_goes_wrong_there_is_told_with_what_to_do(primary, script, text, hint):
    primary.runs(script or "")
    if script is None:
        os.unlink(primary.bin / "barman")
        primary.door.write_text(primary.door.read_text().replace(":$PATH", ":/usr/bin:/bin"))
    with pytest.raises(SyncError) as caught:
        primary.ask()
    assert caught.value.message.startswith("Failed to retrieve the primary node status: ")
    assert text in caught.value.message
    assert hint in caught.value.hint


def test_a_host_that_cannot_be_reached_is_told_as_such(primary):
    primary.door.write_text("#!/bin/sh\necho 'ssh: connect to host there port 22: Connection refused' >&2\nexit 255\n")
    with pytest.raises(Unreachable, match=r"^Failed to retrieve the primary node status: .*Connection refused"):
        primary.ask()
    assert read_record(primary.home.catalog.layout).full_at is None


# --- remembering


def remember(primary, **options):
    with open_server(primary.home) as server:
        return ask_and_remember(server, reporter=MemoryReporter(), **options)


def test_the_answer_is_saved_as_it_is_before_it_is_returned(primary):
    layout = primary.home.catalog.layout
    os.rmdir(layout.incoming_directory)
    answer = remember(primary)
    with open(layout.primary_info, "rb") as file:
        assert file.read() == answer
    assert os.path.isdir(layout.incoming_directory)
    assert read_record(layout).contact_at is not None
    assert read_record(layout).primary_version == "3.19.1"


def test_an_answer_that_cannot_be_read_replaces_no_good_one(primary):
    good = remember(primary)
    primary.says(encode(document(record(A), wals=[{"name": "../x", "size": 1, "time": 1}], last_name="")))
    with pytest.raises(SyncError, match="not the name of a WAL file"):
        remember(primary)
    with open(primary.home.catalog.layout.primary_info, "rb") as file:
        assert file.read() == good


# --- asking oneself


def test_a_primary_with_our_words_for_its_own_primary_may_be_another_host(primary):
    """A chain of nodes, each with `ssh upstream` and a host of that name in its own ssh configuration."""
    primary.says(encode(document(config={**CONFIG, "primary_ssh_command": f"{primary.door} there"})))
    assert remember(primary)


def test_a_passive_node_may_follow_another_passive_node(primary):
    primary.says(encode(document(config={**CONFIG, "primary_ssh_command": "ssh barman@elsewhere"})))
    assert remember(primary)


def test_the_same_directory_under_another_configuration_is_this_node(primary, tmp_path):
    """A real `barman` behind the door, for which the same server is not passive."""
    own = primary.home.config_file.read_text()
    active = "\n".join(line for line in own.splitlines() if not line.startswith("primary_ssh_command"))
    write(str(tmp_path / "active.conf"), active + "\n")
    primary.runs(f'PYTHONPATH={REPOSITORY} exec {sys.executable} -m barman -c {tmp_path}/active.conf "$@"\n')
    add_backup(primary.home.catalog, A)
    with pytest.raises(SyncError, match="is this node itself: both have"):
        remember(primary)
    assert not os.path.exists(primary.home.catalog.layout.primary_info)


def test_the_same_path_on_another_host_is_another_directory_and_is_asked_about_once(primary):
    """Most passive nodes have the paths of their primary."""
    directory = primary.home.catalog.layout.backup_directory
    primary.says(encode(document(config={**CONFIG, "backup_directory": directory})))
    # Another host: nothing of this one is there.
    moved = (
        f'for last; do :; done\ncase "$last" in *{directory}*) echo x >> {primary.bin}/looked;; esac\n'
        f'last=$(printf %s "$last" | sed "s#{directory}#/nonexistent#g")\n'
    )
    primary.door.write_text(primary.door.read_text().replace("for last; do :; done\n", moved))
    with open_server(primary.home) as server:
        for _ in range(3):
            require_other(server, parse(primary.ask(), "main"))
    assert (primary.bin / "looked").read_text().count("x") == 1
    assert read_record(primary.home.catalog.layout).other == f"{primary.door} there"
