"""One rich configuration, read by the original and by us: values, sources, warnings and reasons must be the same."""

from __future__ import annotations

import json
import os
import pwd
import re
from pathlib import Path
from typing import Any

import pytest

from barman.config.loader import Settings, load_settings
from tests.support.fix_upstream import Upstream, find_upstream

# Not in 3.19, which the original here may be, or options of our own.
NEW_OPTIONS = {"aws_sse_customer_key", "hook_script_timeout", "retention_tiers", "wal_hook_script_timeout"}

MAIN = """
[DEFAULT]
site = here
[barman]
barman_home = {root}/home
barman_user = {user}
log_file = {root}/home/barman.log
configuration_files_directory = {root}/conf.d
compression = gzip
last_backup_maximum_age = 2 weeks
retention_policy = redundancy 3
parallel_jobs = 4
reuse_backup = nonsense
minimum_redundancy = 2
path_prefix = "/opt/a:/opt/b"
unknown_global = 1

[streaming]
description: Main "PG" 'x'
conninfo = host=127.0.0.1 port=1 user=postgres
streaming_conninfo = "host=127.0.0.1 port=1 user=streaming"
backup_method = Postgres
streaming_archiver = on
slot_name = BARMAN
last_wal_maximum_age = 1 hour
last_backup_minimum_size = 10 Ki
recovery_options = Get-WAL, delta-restore, get-wal
backup_compression = ZSTD
compression =
retention_policy = recovery  window of 04 WEEK
wal_retention_policy = main
staging_path = /tmp/x
CHECK_TIMEOUT = 0

[rsync]
conninfo = host=127.0.0.1 port=1 user=postgres
host = db1
ssh_command = ssh -q %(host)s.example
archiver = on
backup_options = external_configuration,concurrent_backup
bandwidth_limit = 4000
tablespace_bandwidth_limit = a:1 b:4000 junk
reuse_backup = link
wals_directory = {root}/home/elsewhere/wals
compression_level = -3
retention_policy =
max_incoming_wals_queue = 3
post_backup_script = echo %%%%done
description = one
  two

  three
cluster = group
create_slot = AUTO
keepalive_interval = +5
staging_location = remote
combine_mode = clone
cloud_staging_max_size = 5 G

[bad]
conninfo = nonsense
backup_method = postgres
streaming_conninfo =
archiver = maybe
check_timeout = 1.5
compression = brotli
slot_name = a-b
last_wal_maximum_age = 5 years
last_backup_minimum_size = 5 kb
staging_path = relative
recovery_options = get-wal, put-wal
backup_options = concurrent_backup, exclusive_backup
minimum_redundancy = -3
retention_policy = whatever
retention_policy_mode = manual
basebackups_directory = ftp://x
snapshot_disks = a,,b
encryption = rot13
network_compression = yes
reuse_backup = copy
archiver_batch_size = None
foo = bar

[inactive]
active = false
conninfo = whatever
incoming_wals_directory = {root}/home/inactive/base

[passive]
primary_ssh_command = ssh barman@other
forward_config_path = 1

[model]
model = on
cluster = group
parallel_jobs = 7
wals_directory = /x
backup_options = external_configuration
"""
INCLUDED = """
[streaming]
streaming_archiver_name = from_include
[extra]
conninfo = host=127.0.0.1 port=1
ssh_command = ssh x
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("config")
    for name in ("home/rsync", "conf.d"):
        os.makedirs(directory / name)
    user = pwd.getpwuid(os.geteuid()).pw_name
    (directory / "barman.conf").write_text(MAIN.format(root=directory, user=user))
    (directory / "conf.d" / "10.conf").write_text(INCLUDED)
    (directory / "conf.d" / "ignored.txt").write_text("[ignored]\n")
    (directory / "home" / ".barman.auto.conf").write_text("[rsync]\nparallel_jobs=2\n")
    return directory


@pytest.fixture(scope="module")
def theirs(root: Path) -> dict[str, Any]:
    ran = Upstream(find_upstream(), str(root / "barman.conf")).run("diagnose", "--show-config-source")
    document: dict[str, Any] = json.loads(ran.out)
    document["warnings"] = [line for line in ran.err.splitlines() if line.startswith("WARNING: ")]
    return document


@pytest.fixture(scope="module")
def ours(root: Path) -> Settings:
    return load_settings(str(root / "barman.conf"), {})


def comparable(value: object) -> object:
    # The original prints the words of a list in any order.
    is_list = isinstance(value, str) and re.fullmatch(r"[a-z_-]+(,[a-z_-]+)+", value)
    return sorted(str(value).split(",")) if is_list else value


def test_the_same_servers_and_models_are_found(ours: Settings, theirs: dict[str, Any]) -> None:
    assert sorted(ours.servers) == sorted(theirs["servers"])
    assert sorted(ours.models) == sorted(theirs["models"])


@pytest.mark.parametrize("name", ["streaming", "rsync", "bad", "inactive", "passive", "extra"])
def test_a_server_has_the_same_values(ours: Settings, theirs: dict[str, Any], name: str) -> None:
    expected = {key: comparable(row["value"]) for key, row in theirs["servers"][name]["config"].items()}
    found = {key: comparable(value) for key, value in ours.servers[name].json_items()}
    assert {key: value for key, value in found.items() if key not in NEW_OPTIONS} == {
        key: value for key, value in expected.items() if key not in NEW_OPTIONS
    }


@pytest.mark.parametrize("name", ["streaming", "rsync", "extra"])
def test_a_server_has_the_same_sources(ours: Settings, theirs: dict[str, Any], name: str) -> None:
    # The original names [barman] for every option that stands there, be it inheritable, valid or neither.
    quirks = {"reuse_backup", "name", "disabled"}
    rows = theirs["servers"][name]["config"]
    expected = {key: row["source"] for key, row in rows.items() if key not in quirks}
    assert {key: ours.servers[name].source(key) for key in expected} == expected


@pytest.mark.parametrize("name", ["streaming", "rsync", "bad", "inactive", "passive", "extra"])
def test_a_server_is_disabled_for_the_same_reasons(ours: Settings, theirs: dict[str, Any], name: str) -> None:
    assert ours.servers[name].msg_list == theirs["servers"][name]["msg_list"]


def test_models_have_the_same_values(ours: Settings, theirs: dict[str, Any]) -> None:
    found = {key: value for key, value in ours.models["model"].json_items() if key not in NEW_OPTIONS}
    expected = {key: row["value"] for key, row in theirs["models"]["model"]["config"].items() if key not in NEW_OPTIONS}
    assert found == expected


def test_the_global_configuration_is_shown_the_same(ours: Settings, theirs: dict[str, Any]) -> None:
    rows = theirs["global"]["config"]
    expected = {key: row["value"] for key, row in rows.items() if key != "errors_list"}
    # The original shows the quotes here that it does without everywhere else.
    expected["path_prefix"] = expected["path_prefix"].strip('"')
    assert dict(ours.barman.items()) == expected
    assert ours.global_errors == rows["errors_list"]


def test_the_warnings_are_the_same_but_for_the_reasons(ours: Settings, theirs: dict[str, Any]) -> None:
    notices = [notice for config in ours.servers.values() for notice in config.notices]
    found = {f"WARNING: {problem.text}" for problem in [*ours.problems, *notices]}

    def without_reason(lines: set[str]) -> set[str]:
        return {re.sub(r"( section: ).*", r"\1", line) for line in lines}

    assert without_reason(found) == without_reason(set(theirs["warnings"]))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[barman]\n", 'Parameter "barman_home" is required in [barman] section.'),
        ("[barman]\nbarman_home = {root}\nbarman_user = {user}\n[m]\nmodel = on\n", 'Parameter "cluster" is required'),
        ("[barman]\nbarman_home = {root}\nbarman_user = {user}\n[all]\nconninfo = host=x\n", "FATAL: "),
        ("[barman]\nbarman_home = {root}\nbarman_user = {user}\nlog_file = %(x)s\n", ""),
        (None, "Configuration file '{file}' does not exist"),
    ],
)
def test_what_stops_every_command_stops_both_programs(tmp_path: Path, text: str | None, words: str) -> None:
    from barman.errors import ConfigError

    facts = {"root": str(tmp_path), "user": pwd.getpwuid(os.geteuid()).pw_name, "file": str(tmp_path / "c")}
    if text is not None:
        (tmp_path / "c").write_text(text.replace("{root}", facts["root"]).replace("{user}", facts["user"]))
    ran = Upstream(find_upstream(), facts["file"]).run("list-servers", check=False)
    assert ran.code == 1
    with pytest.raises(ConfigError) as caught:
        load_settings(facts["file"], {})
    words = words.format(**facts)
    assert words in ran.err
    assert words in caught.value.message
