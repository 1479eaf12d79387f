"""What `check` prints, and the Nagios plugin: texts that monitoring systems parse."""

import re

from barman.check.check import CheckReport, CheckResult
from barman.output.nagios import nagios_lines
from barman.output.views.checks import CheckReportView, check_key

GOOD = CheckReport("pg", results=(CheckResult("directories", True),), last_backup_size=300, wals_size=7)
BAD = CheckReport(
    "rs",
    results=(
        CheckResult("PostgreSQL", False),
        CheckResult("failed backups", False, "there are 1 failed backups", blocking=False),
    ),
)
OFF = CheckReport("off", active=False, results=(CheckResult("directories", False, "no"),))


def console(report):
    lines = []
    CheckReportView.console(report, lines.append)
    return lines


def test_each_check_is_a_line():
    assert console(BAD) == [
        "Server rs:",
        "\tPostgreSQL: FAILED",
        "\tfailed backups: FAILED (there are 1 failed backups)",
    ]
    assert console(GOOD) == ["Server pg:", "\tdirectories: OK"]


def test_the_title_says_what_is_special():
    assert console(CheckReport("off", active=False)) == ["Server off (inactive):"]
    assert console(CheckReport("b", disabled=True)) == ["Server b (WARNING: disabled):"]


def test_explanations_follow_their_line_and_are_messages_in_json():
    report = CheckReport("b", disabled=True, results=(CheckResult("configuration", False, details=("one", "two")),))
    assert console(report)[1:] == ["\tconfiguration: FAILED", "\t\tone", "\t\ttwo"]
    assert CheckReportView.json(report) == {
        "_INFO": ["\t\tone", "\t\ttwo"],
        "b": {"configuration": {"hint": "", "status": "FAILED"}},
    }


def test_keys_are_names_without_blanks_dashes_and_dots():
    assert check_key("wal_level (WAL streaming)") == "wal_level_(wal_streaming)"
    assert check_key("minimum redundancy requirements") == "minimum_redundancy_requirements"
    assert check_key("receive-wal running") == "receive_wal_running"
    assert CheckReportView.json(BAD)["rs"]["postgresql"] == {"hint": "", "status": "FAILED"}


def test_nagios_praises_one_good_server_with_its_sizes():
    assert nagios_lines([GOOD]) == (
        ["BARMAN OK - Ready to serve the Espresso backup for pg|pg=300B pg_wals=7B"],
        0,
    )


def test_nagios_praises_several_good_servers():
    lines, code = nagios_lines([GOOD, CheckReport("q")])
    assert code == 0
    assert lines == [
        "BARMAN OK - Ready to serve the Espresso backup for 2 servers * pg * q|pg=300B pg_wals=7B q=0B q_wals=0B"
    ]


def test_nagios_names_every_failed_check():
    lines, code = nagios_lines([BAD])
    assert code == 2
    assert lines == [
        "BARMAN CRITICAL - server rs has issues * rs FAILED: PostgreSQL, failed backups|rs=0B rs_wals=0B",
        "rs.PostgreSQL: FAILED",
        "rs.failed backups: FAILED (there are 1 failed backups)",
    ]


def test_nagios_counts_servers_with_issues():
    lines, code = nagios_lines([GOOD, BAD])
    assert code == 2
    assert lines[0] == (
        "BARMAN CRITICAL - 1 server out of 2 have issues * rs FAILED: PostgreSQL, failed backups"
        "|pg=300B pg_wals=7B rs=0B rs_wals=0B"
    )


def test_nagios_ignores_inactive_servers_unless_something_else_fails():
    assert nagios_lines([OFF]) == (["BARMAN OK - No server configured * IGNORING: off"], 0)
    assert nagios_lines([GOOD, OFF])[0] == [
        "BARMAN OK - Ready to serve the Espresso backup for pg * IGNORING: off|pg=300B pg_wals=7B off=0B off_wals=0B"
    ]
    lines, code = nagios_lines([BAD, OFF])
    assert code == 2
    assert lines[0].startswith("BARMAN CRITICAL - 2 server out of 2 have issues * rs FAILED: ")


def test_nagios_says_when_nothing_could_be_checked():
    assert nagios_lines([], broken=True) == (["BARMAN CRITICAL - Global configuration errors"], 2)
    assert nagios_lines([]) == (["BARMAN OK - No server configured"], 0)


def test_the_first_line_has_the_shape_that_aggregators_expect():
    for reports in ([GOOD], [BAD], [GOOD, BAD, OFF], []):
        assert re.match(r"BARMAN\s+(\w+) - (\w.*)$", nagios_lines(reports)[0][0])
