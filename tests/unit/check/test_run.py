"""The runner: order, deadline, and the boundary around each check."""

import threading
import time

import pytest

from barman.check.check import Check, Outcome, check, failed, passed
from barman.check.run import run_checks
from barman.clock import Deadline
from barman.config.loader import load_settings
from barman.errors import BarmanError
from barman.server.server import Server
from tests.support.fix_upstream import INACTIVE_SERVER, write_config


@pytest.fixture
def server(tmp_path):
    settings = load_settings(write_config(str(tmp_path), {"main": INACTIVE_SERVER}), {})
    return Server(settings.servers["main"])


def lines(report):
    return [(result.name, result.ok, result.hint) for result in report.results]


def test_lines_come_in_the_order_of_the_checks_and_silent_ones_leave_none(server):
    checks = [Check("one", lambda _: passed("fine")), Check("two", lambda _: None), Check("three", lambda _: failed())]
    report = run_checks(server, Deadline(None), checks)
    assert lines(report) == [("one", True, "fine"), ("three", False, "")]


def test_a_check_that_raises_becomes_a_failed_line_that_names_the_cause(server):
    def refuse(_):
        raise BarmanError("the disk is full", hint="Make room")

    def crash(_):
        raise ValueError("odd")

    report = run_checks(server, Deadline(None), [Check("a", refuse), Check("b", crash), Check("c", lambda _: passed())])
    assert lines(report) == [
        ("a", False, "the disk is full. Make room"),
        ("b", False, "ValueError: odd"),
        ("c", True, ""),
    ]


def test_a_check_that_hangs_is_reported_as_a_timeout_and_the_rest_is_not_run(server):
    leave = threading.Event()

    def hang(_):
        leave.wait(30)
        return passed()

    started = time.monotonic()
    report = run_checks(server, Deadline(0.2), [Check("a", lambda _: passed()), Check("b", hang), Check("c", hang)])
    leave.set()
    assert time.monotonic() - started < 5
    assert lines(report) == [("a", True, ""), ("check timeout", False, "barman check command timed out")]
    assert [result.name for result in report.blocking_failures] == ["check timeout"]


def test_checks_that_do_not_apply_are_left_out(server):
    report = run_checks(
        server, Deadline(None), [Check("a", lambda _: failed(), applies=lambda config: config.archiver)]
    )
    assert report.results == ()


def test_only_blocking_failures_keep_a_backup_from_starting(server):
    checks = [
        Check("soft", lambda _: failed(), blocking=False),
        Check("hard", lambda _: failed()),
        Check("softened", lambda _: failed(blocking=False)),
    ]
    report = run_checks(server, Deadline(None), checks)
    assert [result.name for result in report.failures] == ["soft", "hard", "softened"]
    assert [result.name for result in report.blocking_failures] == ["hard"]


def test_an_inactive_server_alarms_nobody(server):
    report = run_checks(server, Deadline(None), [Check("a", lambda _: failed())])
    assert report.failures
    assert not report.alarms


def test_a_declared_check_may_fail_under_another_name(server):
    @check("good name")
    def probe(context):
        """A probe."""
        return Outcome(False, "hint", "bad name")

    assert lines(run_checks(server, Deadline(None), [probe])) == [("bad name", False, "hint")]
