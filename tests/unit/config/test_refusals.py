from __future__ import annotations

import os
from pathlib import Path

import pytest

from barman.config.loader import Settings, load_settings
from barman.config.refusals import command_problem

POSTGRES = "conninfo = host=a\nbackup_method = postgres\narchiver = on\n"
RSYNC = "conninfo = host=a\nssh_command = ssh a\narchiver = on\nbackup_options = concurrent_backup\n"
SNAPSHOT = RSYNC + "backup_method = snapshot\n"


def load(tmp_path: Path, text: str) -> Settings:
    main = tmp_path / "barman.conf"
    main.write_text(f"[barman]\nbarman_home = {tmp_path}\n{text}")
    return load_settings(str(main), {})


def reasons(tmp_path: Path, lines: str) -> list[str]:
    config = load(tmp_path, f"[s]\n{lines}").servers["s"]
    assert config.disabled == bool(config.msg_list)
    return config.msg_list


@pytest.mark.parametrize(
    "lines",
    [
        RSYNC,
        POSTGRES,
        "conninfo = postgresql://u:p@h:5432/db?sslmode=require\nbackup_method = postgres\narchiver = on\n",
        "conninfo = host='/var/run/my dir' password='a b'\nbackup_method = postgres\narchiver = on\n",
        "conninfo = host=a\nbackup_method = local-rsync\narchiver = on\n",
        "primary_ssh_command = ssh other\n",
        "active = off\n",
        "active = off\nbackup_method = snapshot\nconninfo = nonsense\nssh_command = 'x\n",
        POSTGRES + "backup_compression = zstd\nbackup_compression_level = -5\nbackup_compression_workers = 2\n",
        POSTGRES
        + "backup_compression = gzip\nbackup_compression_format = plain\nbackup_compression_location = server\n",
        POSTGRES + "reuse_backup = off\n",
        # Backups are refused by `backup`; WAL must be archived and old backups be restored.
        "conninfo = host=a\narchiver=on\nbackup_method = local-to-cloud\n",
    ],
)
def test_good_configurations_are_not_refused(tmp_path: Path, lines: str) -> None:
    assert reasons(tmp_path, lines) == []


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("ssh_command = ssh a\narchiver = on\n", "PostgreSQL connection: Missing 'conninfo' parameter for server 's'"),
        (
            "conninfo = oops\nssh_command = ssh a\n",
            'PostgreSQL connection: Cannot connect to postgres: "oops" is not a valid connection string',
        ),
        (
            POSTGRES + "streaming_conninfo =\n",
            "Streaming connection: Missing 'streaming_conninfo' parameter for server 's'",
        ),
        (
            POSTGRES + "streaming_conninfo = bogus\n",
            'Streaming connection: Cannot connect to postgres: "bogus" is not a valid connection string',
        ),
        (
            POSTGRES + "tablespace_bandwidth_limit = a:1\n",
            "tablespace_bandwidth_limit option is not supported by postgres backup_method",
        ),
        (POSTGRES + "reuse_backup = link\n", "reuse_backup option is not supported by postgres backup_method"),
        (
            POSTGRES + "network_compression = 1\n",
            "network_compression option is not supported by postgres backup_method",
        ),
        (RSYNC + "backup_compression = gzip\n", "backup_compression option is not supported by rsync backup_method"),
    ],
)
def test_refusals_in_the_words_of_the_original(tmp_path: Path, lines: str, expected: str) -> None:
    assert reasons(tmp_path, lines) == [expected]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("conninfo = host=a\nstreaming_archiver = on\nbackup_method = postgres\n", ["streaming_conninfo", "slot_name"]),
        ("conninfo = host=a\narchiver = on\n", ["ssh_command", "'s'"]),
        ("conninfo = host=a\narchiver = on\nssh_command = ssh 'a\n", ["ssh_command", "'s'", "quotation"]),
        ("conninfo = host=a\narchiver = on\nssh_command = x\nbackup_method = local-rsync\n", ["ssh_command", "'s'"]),
        ('primary_ssh_command = ssh "x\n', ["primary_ssh_command", "'s'"]),
        (POSTGRES + "wals_directory = s3://b/w\n", ["wals_directory", "s3://b/w", "not supported yet"]),
        (POSTGRES + "basebackups_directory = gs://b\n", ["basebackups_directory", "not supported yet"]),
        (POSTGRES + "backup_compression = gzip\nbackup_compression_level = 10\n", ["backup_compression_level=10"]),
        (POSTGRES + "backup_compression = none\nbackup_compression_level = 1\n", ["backup_compression_level=1"]),
        (POSTGRES + "backup_compression = lz4\nbackup_compression_workers = 1\n", ["backup_compression_workers"]),
        (POSTGRES + "backup_compression = zstd\nbackup_compression_workers = -1\n", ["backup_compression_workers=-1"]),
        (
            POSTGRES + "backup_compression = gzip\nbackup_compression_format = plain\n",
            ["format=plain", "location=server"],
        ),
        (RSYNC + "compression = custom\ncustom_compression_filter = x\n", ["custom_decompression_filter", "'s'"]),
    ],
)
def test_refusals_that_name_what_is_wrong(tmp_path: Path, lines: str, words: list[str]) -> None:
    (message,) = reasons(tmp_path, lines)
    assert all(word in message for word in words), message


def test_a_password_is_not_shown_in_a_refusal(tmp_path: Path) -> None:
    found = reasons(tmp_path, "conninfo = host=a password=geheim nonsense\nbackup_method=postgres\narchiver=on\n")
    assert len(found) == 2
    assert "geheim" not in "".join(found)


def test_snapshots_are_judged(tmp_path: Path) -> None:
    found = reasons(tmp_path, SNAPSHOT + "backup_compression = gzip\nsnapshot_provider = gcp\nbandwidth_limit = 5\n")
    assert found[:4] == [
        "backup_compression option is not supported by snapshot backup_method",
        "bandwidth_limit option is not supported by snapshot backup_method",
        "snapshot_disks option is required by snapshot backup_method",
        "snapshot_instance option is required by snapshot backup_method",
    ]
    assert found[4].startswith("Error initialising snapshot provider gcp: gcp_project")
    assert len(found) == 5


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("aws_snapshot_lock_mode = compliance\n", "exactly one"),
        ("aws_snapshot_lock_mode = compliance\naws_snapshot_lock_duration = 0\n", "aws_snapshot_lock_duration=0"),
        (
            "aws_snapshot_lock_mode = governance\naws_snapshot_lock_duration = 1\n"
            "aws_snapshot_lock_cool_off_period = 1\n",
            "compliance",
        ),
        (
            "aws_snapshot_lock_mode = compliance\naws_snapshot_lock_duration = 1\n"
            "aws_snapshot_lock_cool_off_period = 73\n",
            "cool_off_period=73",
        ),
    ],
)
def test_locks_of_aws_snapshots_are_judged(tmp_path: Path, lines: str, words: str) -> None:
    complete = SNAPSHOT + "snapshot_provider = aws\nsnapshot_disks = a\nsnapshot_instance = i\n"
    assert words in reasons(tmp_path, complete + lines)[0]


def test_provider_names_and_their_needs_are_judged(tmp_path: Path) -> None:
    complete = SNAPSHOT + "snapshot_disks = a\nsnapshot_instance = i\n"
    assert "azure_subscription_id" in reasons(tmp_path, complete + "snapshot_provider = azure\n")[0]
    assert "Error initialising snapshot provider moon" in reasons(tmp_path, complete + "snapshot_provider = moon\n")[0]


@pytest.mark.parametrize(("command", "good"), [("ssh a", True), ("ssh 'a b'", True), ("ssh 'a", False), ("a\\", False)])
def test_shell_quoting_is_judged(command: str, good: bool) -> None:
    assert (command_problem(command) == "") is good


class TestPathConflicts:
    def test_two_servers_with_one_directory_are_a_global_error(self, tmp_path: Path) -> None:
        loaded = load(tmp_path, f"[a]\n{RSYNC}[b]\n{RSYNC}wals_directory = {tmp_path}/a/./wals/\n")
        assert loaded.global_errors == [
            f"Conflicting path: wals_directory={tmp_path}/a/./wals/ for server 'b' conflicts with 'wals_directory' "
            "for server 'a'"
        ]

    def test_symbolic_links_do_not_hide_it(self, tmp_path: Path) -> None:
        os.makedirs(tmp_path / "a" / "wals")
        os.symlink(tmp_path / "a" / "wals", tmp_path / "link")
        loaded = load(tmp_path, f"[a]\n{RSYNC}[b]\n{RSYNC}errors_directory = {tmp_path}/link\n")
        assert loaded.global_errors == [
            f"Conflicting path: errors_directory={tmp_path}/link (symlink to: {tmp_path}/a/wals) for server 'b' "
            "conflicts with 'wals_directory' for server 'a'"
        ]

    def test_one_directory_for_two_purposes_disables_the_server_even_inactive(self, tmp_path: Path) -> None:
        loaded = load(tmp_path, f"[s]\nactive = off\nincoming_wals_directory = {tmp_path}/s/base\n")
        assert loaded.servers["s"].msg_list == [
            f"Conflicting path: incoming_wals_directory={tmp_path}/s/base conflicts with 'basebackups_directory' "
            "for server 's'"
        ]
        assert loaded.global_errors == []

    def test_buckets_are_not_compared(self, tmp_path: Path) -> None:
        cloud = RSYNC + "wals_directory = s3://b/w\n"
        assert load(tmp_path, f"[a]\n{cloud}[b]\n{cloud}").global_errors == []
        assert load(tmp_path, f"[a]\n{cloud}").servers["a"].xlogdb_directory == f"{tmp_path}/a/meta"


class TestAdjustments:
    def notices(self, tmp_path: Path, lines: str) -> list[str]:
        return [notice.text for notice in load(tmp_path, f"[s]\n{lines}").servers["s"].notices]

    def test_without_an_archiver_one_is_forced_and_said(self, tmp_path: Path) -> None:
        config = load(tmp_path, "[s]\nconninfo = host=a\nbackup_method = postgres\n").servers["s"]
        assert config.archiver is True
        assert [notice.text for notice in config.notices] == [
            "No archiver enabled for server 's'. Please turn on 'archiver', 'streaming_archiver' or both",
            "Forcing 'archiver = on'",
        ]

    def test_a_strategy_is_chosen_and_said(self, tmp_path: Path) -> None:
        lines = "conninfo = host=a\nssh_command = x\narchiver = on\nbackup_options = external_configuration\n"
        config = load(tmp_path, "[s]\n" + lines).servers["s"]
        assert sorted(config.backup_options) == ["concurrent_backup", "external_configuration"]
        assert self.notices(tmp_path, lines) == [
            "No backup strategy set for server 's' (using default 'concurrent_backup')."
        ]

    def test_the_postgres_method_is_always_concurrent(self, tmp_path: Path) -> None:
        assert self.notices(tmp_path, POSTGRES) == []
        assert load(tmp_path, "[s]\n" + POSTGRES).servers["s"].backup_options == frozenset({"concurrent_backup"})
        assert len(self.notices(tmp_path, POSTGRES + "backup_options = exclusive_backup\n")) == 1

    @pytest.mark.parametrize("lines", ["active = off\n", "primary_ssh_command = ssh x\n"])
    def test_inactive_and_passive_servers_stay_as_they_are(self, tmp_path: Path, lines: str) -> None:
        config = load(tmp_path, "[s]\n" + lines).servers["s"]
        assert (config.archiver, config.backup_options, config.notices) == (False, frozenset(), [])

    def test_a_tablespace_limited_like_all_others_is_not_special(self, tmp_path: Path) -> None:
        lines = RSYNC + "bandwidth_limit = 5\ntablespace_bandwidth_limit = a:5 b:6\n"
        assert load(tmp_path, "[s]\n" + lines).servers["s"].tablespace_bandwidth_limit == {"b": 6}

    def test_an_enforced_policy_shows_its_wal_policy_in_capitals(self, tmp_path: Path) -> None:
        config = load(tmp_path, f"[s]\n{RSYNC}retention_policy = redundancy 2\n").servers["s"]
        assert (config.retention_policy, config.wal_retention_policy) == ("REDUNDANCY 2", "MAIN")


@pytest.mark.parametrize(
    ("conninfo", "reason"),
    [
        ("host=a password='s3cret b", "a quote is not closed"),
        ("host /a s3cret password=x", "expected a parameter and '=' at character 1"),
        ("host=a Password = 's3cret", "a quote is not closed"),
        ("postgresql://u:s3cret@[::/x", "an IPv6 address is not closed by ']'"),
        ("postgres:/u:s3cret@h/x", "expected a parameter and '=' at character 1"),
    ],
)
def test_a_password_in_what_cannot_be_parsed_is_not_shown(tmp_path: Path, conninfo: str, reason: str) -> None:
    told = f'Cannot connect to postgres: "*REDACTED*" is not a valid connection string ({reason})'
    assert reasons(tmp_path, f"conninfo = {conninfo}\narchiver = on\nssh_command = ssh a\n") == [
        f"PostgreSQL connection: {told}"
    ]
