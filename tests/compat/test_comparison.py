"""Every command that reads, in every format, through the original and through this program, compared field by field.

What differs on purpose is in `tests.compat.intended`, and with its reason in docs/explanation/compatibility.md.
Everything else must be equal. `pytest -s` shows how much was compared.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from barman.cli import table
from tests.compat import shapes
from tests.compat.comparison import Case, cases, differences
from tests.compat.intended import INTENDED, is_intended
from tests.support.forked import ROOT, start_original, start_ours

pytestmark = pytest.mark.compat

SERVERS = ("main", "kept", "empty", "down", "broken", "passive")
SIMPLE_SERVERS = ("unfinished", "legacy")
WORDS = {
    "main": (*shapes.BACKUPS, "latest", "oldest", "last-failed", "latest-full", "first-b"),
    "kept": (shapes.FIRST, shapes.SECOND, shapes.FAILED, shapes.THIRD),
    "unfinished": (shapes.STARTED, shapes.EMPTY),
    "legacy": (shapes.FIRST, "latest"),
    "passive": (shapes.FIRST, "latest"),
}
TARGETS = ("standalone", "data", "wal", "full")

OF_A_SERVER = (
    "list-backups {}",
    "list-backups {} --minimal",
    "show-servers {}",
    "status {}",
    "check {}",
    "console: check --nagios {}",
    "replication-status {}",
    "list-processes {}",
    "console: get-wal -t {} 000000010000000000000001",
    "put-wal -t {}",
)
OF_A_SIMPLE_SERVER = OF_A_SERVER[:6]
OF_A_BACKUP = ("show-backup {} {}", "keep {} {} --status")

ALONE = (
    "list-servers",
    "list-servers --minimal",
    "list-server",
    "diagnose",
    "diagnose --show-config-source",
    "list-backups all",
    "list-backup main empty",
    "list-backups all --minimal",
    "show-server empty main",
    "show-backups main latest",
    "status main empty down",
    "check main kept down",
    "console: check --nagios main down",
    "console: check --nagios main kept nosuch",
    "console: check --nagios nosuch",
    "list-files kept latest --list-empty-directories",
    "console: get-wal main 00000002.history",
    "console: get-wal kept -p 3 000000010000000000000006",
    "console: get-wal main -p 2 000000010000000000000011",
    "console: get-wal main -p 2 0000000100000000000000FF",
    "check-wal-archive main",
    "check-wal-archive empty",
    "check-wal-archive down",
    "check-wal-archive kept",
    "check-wal-archive kept --timeline 2",
    "replication-status down --minimal",
    "replication-status down --target hot-standby --source wal-host",
)
"""Answers."""

REFUSED = (
    *(
        f"{command} nosuch"
        for command in (
            "list-backups", "show-servers", "status", "check", "replication-status", "list-processes", "archive-wal",
            "backup", "rebuild-xlogdb", "switch-wal", "receive-wal", "receive-wal --stop", "receive-wal --create-slot",
            "check-wal-archive", "put-wal -t",
        )
    ),
    *(
        f"{command} {server} nosuch"
        for command in (
            "show-backup", "list-files", "check-backup", "delete", "keep --status", "generate-manifest",
            "verify-backup",
        )
        for server in ("kept", "nosuch")
    ),
    "restore kept nosuch /nonexistent/place",
    "restore nosuch latest /nonexistent/place",
    f"restore kept {shapes.FAILED} /nonexistent/place",
    f"restore kept {shapes.FIRST} /nonexistent/place --target-immediate --target-xid 7",
    f"restore kept {shapes.FIRST} /nonexistent/place --tablespace tsa",
    f"restore kept {shapes.FIRST} /nonexistent/place --tablespace nosuch:/x",
    f"restore kept {shapes.FIRST} /nonexistent/place --target-action pause",
    "restore kept auto /nonexistent/place --target-xid 7",
    "console: get-wal kept 0000000100000000000000FF",
    "console: get-wal kept nonsense",
    "console: get-wal nosuch 000000010000000000000006",
    f"keep kept {shapes.FIRST}",
    f"keep kept {shapes.FAILED} --target full",
    f"keep kept {shapes.SECOND} --release --target full",
    f"check-backup kept {shapes.FAILED}",
    f"delete kept {shapes.FIRST}",
    f"delete kept {shapes.SECOND}",
    "terminate-process kept receive-wal",
    "switch-wal down",
    "receive-wal down --create-slot",
    "receive-wal down --drop-slot",
    "receive-wal down --stop",
    "receive-wal down --stop --reset",
    *(
        f"{command} main"
        for command in ("backup", "replication-status", "switch-wal", "receive-wal", "archive-wal", "list-processes")
    ),
    *(
        f"{command} broken"
        for command in (
            "backup", "replication-status", "switch-wal", "receive-wal", "archive-wal", "list-processes",
            "check-wal-archive", "put-wal -t",
        )
    ),
    *(
        f"{command} passive"
        for command in (
            "backup", "switch-wal", "receive-wal", "receive-wal --stop", "receive-wal --create-slot",
            "receive-wal --drop-slot", "archive-wal", "terminate-process cron",
        )
    ),
    "restore passive nosuch /nonexistent/place",
    "console: get-wal passive 0000000100000000000000FF",
    f"delete passive {shapes.SECOND}",
    "show-backup all latest",
    "list-backups all main",
)  # fmt: skip
"""Refusals: the stream, the prefix and the exit code are compared, not the words."""

MISUSED = (
    "nosuch",
    "--nosuch",
    *(
        command
        for command in (
            "list-backups", "show-servers", "status", "check", "replication-status", "list-processes", "archive-wal",
            "backup", "rebuild-xlogdb", "switch-wal", "receive-wal", "check-wal-archive", "put-wal", "get-wal",
            "show-backup", "list-files", "check-backup", "delete", "keep", "generate-manifest", "verify-backup",
            "restore", "terminate-process", "get-wal kept", "show-backup kept", "restore kept latest",
        )
    ),
    "check kept --nosuch",
    "check kept --check-timeout -1",
    "check kept --check-timeout soon",
    "list-files kept latest --target everything",
    "keep kept latest --target some",
    "check-wal-archive kept --timeline 0",
    "get-wal kept 000000010000000000000006 -p 0",
    "get-wal kept 000000010000000000000006 --gzip --keep-compression",
    "backup kept --name latest",
    "backup kept --name 20261101T000000",
    "backup kept --jobs 0",
    "backup kept --bwlimit x",
    "restore kept latest /nonexistent/place --target-action dance",
    "restore kept latest /nonexistent/place --target-tli 0",
    "replication-status kept --target none",
    "replication-status kept --source none",
)  # fmt: skip
"""Usage errors: exit code 2, the usage on standard error, nothing on standard output."""


def offline_cases() -> list[Case]:
    lines = [line.format(server) for server in SERVERS for line in OF_A_SERVER]
    lines += [line.format(server) for server in SIMPLE_SERVERS for line in OF_A_SIMPLE_SERVER]
    for server, words in WORDS.items():
        lines += [line.format(server, word) for word in words for line in OF_A_BACKUP]
        listed = [word for word in words if word in ("latest", "20261102T000000", shapes.SECOND)]
        lines += [f"list-files {server} {word} --target {target}" for word in listed for target in TARGETS]
    misused = [f"console: {line}" for line in MISUSED]
    return [case for case in cases([*lines, *ALONE, *REFUSED, *misused]) if is_built(case)]


TORN = (
    *(line.format("torn") for line in OF_A_SIMPLE_SERVER),
    *(line.format("torn", shapes.SOUND) for line in OF_A_BACKUP),
    f"list-files torn {shapes.SOUND}",
)


def is_built(case: Case) -> bool:
    return table.find(case.command) is not None or case.command in ("nosuch", "--nosuch")


@dataclass(frozen=True)
class Compared:
    """What was compared, and each difference that was found."""

    cases: list[Case]
    found: list[str]

    @property
    def unexpected(self) -> list[str]:
        return [item for item in self.found if not is_intended(item)]

    @property
    def summary(self) -> str:
        names = {known.name for known in INTENDED if any(known.covers(item) for item in self.found)}
        commands = {case.arguments for case in self.cases}
        return (
            f"{len(self.cases)} comparisons: {len(commands)} command lines of {len({c[0] for c in commands})} commands"
            f" × formats; {len(self.found)} values differ, by {len(names)} intended differences"
        )


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory, upstream_program: str) -> Compared:
    chosen, found = [], []
    for build, some in ((shapes.build_home, offline_cases()), (shapes.build_torn_home, cases(TORN))):
        directory = tmp_path_factory.mktemp("comparison")
        config_file = build(str(directory))
        original = start_original(upstream_program, config_file, directory / "original")
        ours = start_ours(config_file, directory / "ours")
        try:
            found += [item for case in some for item in differences(case, original, ours, is_intended)]
        finally:
            original.close()
            ours.close()
        chosen += some
    return Compared(chosen, found)


def shown(items: list[str]) -> str:
    return f"{len(items)} differences that nobody intended:\n" + "\n".join(item[:300] for item in items[:80])


def test_every_difference_on_catalogs_of_many_shapes_is_intended(offline: Compared) -> None:
    print(offline.summary)  # noqa: T201  what pytest -s is asked for
    assert len(offline.cases) > 400
    assert offline.unexpected == [], shown(offline.unexpected)


def test_every_intended_difference_exists(offline: Compared) -> None:
    gone = [known.where for known in INTENDED if not known.live and not any(map(known.covers, offline.found))]
    assert not gone, "\n".join(gone)


def test_the_documentation_has_a_row_for_every_intended_difference() -> None:
    page = (Path(ROOT) / "docs/explanation/compatibility.md").read_text(encoding="utf-8")
    table_of_page = page.partition("### Every difference")[2].partition("\n##")[0]
    rows = re.findall(r"^\| ([a-z0-9 .]+) \| \S.*? \| \S.*? \|$", table_of_page, re.MULTILINE)
    assert sorted(rows) == sorted({known.name for known in INTENDED})
