from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from barman.config.loader import ACTIVE_MODEL_FILE, Settings, barman_user, load_settings
from barman.config.server_config import SERVER_OPTIONS
from barman.errors import ConfigError

Load = Callable[..., Settings]
GOOD = "conninfo = host=a\nssh_command = ssh a\narchiver = on\nbackup_options = concurrent_backup\n"


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Write a main file with a [barman] section and load it."""

    def write_and_load(text: str = "", general: str = "", files: dict[str, str | bytes] | None = None) -> Settings:
        include = tmp_path / "conf.d"
        include.mkdir(exist_ok=True)
        (tmp_path / "home").mkdir(exist_ok=True)
        for name, content in (files or {}).items():
            (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        main = tmp_path / "barman.conf"
        main.write_text(
            f"[barman]\nbarman_home = {tmp_path}/home\nconfiguration_files_directory = {include}\n{general}\n{text}"
        )
        return load_settings(str(main), {})

    return write_and_load


def messages(loaded: Settings) -> list[str]:
    return [problem.text for problem in loaded.problems]


class TestFindingTheMainFile:
    def test_the_named_file_comes_first_then_the_environment_then_the_home(self, tmp_path: Path) -> None:
        for name in ("given", "variable", ".barman.conf"):
            (tmp_path / name).write_text(f"[barman]\nbarman_home = /{name}\n")
        environ = {"BARMAN_CONFIG_FILE": str(tmp_path / "variable"), "HOME": str(tmp_path)}
        assert load_settings(str(tmp_path / "given"), environ).barman.barman_home == "/given"
        assert load_settings(None, environ).barman.barman_home == "/variable"
        assert load_settings(None, {"HOME": str(tmp_path)}).barman.barman_home == "/.barman.conf"

    def test_a_named_file_that_is_missing_is_fatal_in_the_words_of_the_original(self) -> None:
        with pytest.raises(ConfigError) as caught:
            load_settings("/no/such", {})
        assert (caught.value.message, caught.value.bare) == ("Configuration file '/no/such' does not exist", True)

    def test_no_file_at_all_is_fatal_in_two_lines(self, tmp_path: Path) -> None:
        if os.path.exists("/etc/barman.conf") or os.path.exists("/etc/barman/barman.conf"):
            pytest.skip("this host has a configuration of its own")
        with pytest.raises(ConfigError) as caught:
            load_settings(None, {"HOME": str(tmp_path)})
        assert len(caught.value.message.splitlines()) == 2

    def test_the_user_is_known_from_the_main_file_alone(self, tmp_path: Path) -> None:
        (tmp_path / "c").write_text("[barman]\nbarman_home = /h\nbarman_user = bob\n")
        assert barman_user(str(tmp_path / "c"), {}) == "bob"

    def test_a_main_file_that_cannot_be_read_is_fatal(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="cannot read"):
            load_settings(str(tmp_path), {})


class TestGlobalSection:
    def test_defaults_are_computed_from_the_home(self, load: Load, tmp_path: Path) -> None:
        barman = load().barman
        home = f"{tmp_path}/home"
        assert (barman.barman_user, barman.barman_lock_directory, barman.log_level) == ("barman", home, "INFO")
        assert barman.config_changes_queue == f"{home}/cfg_changes.queue"
        assert barman.lock_directory_cleanup is True

    @pytest.mark.parametrize("text", ["", "[barman]\n", "[barman]\nbarman_home =\n", "[pg]\nconninfo = x\n"])
    def test_the_home_is_required(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "c").write_text(text)
        with pytest.raises(ConfigError, match=r'^Parameter "barman_home" is required in \[barman\] section\.\n'):
            load_settings(str(tmp_path / "c"), {})

    def test_the_log_file_is_absolute(self, load: Load) -> None:
        assert load(general="log_file = x.log").barman.log_file == os.path.abspath("x.log")

    def test_unknown_options_are_named(self, load: Load) -> None:
        loaded = load(general="foo = 1\ncompression = gzip\nlog_format = %%%%(message)s")
        assert messages(loaded) == ['Invalid configuration option "foo" in [barman] section.']
        assert loaded.barman.log_format == "%(message)s"

    @pytest.mark.parametrize("line", ["no delimiter", "path_prefix = %(nothing)s", "path_prefix = 50%"])
    def test_damage_in_the_global_section_stops_everybody_and_names_the_line(self, load: Load, line: str) -> None:
        with pytest.raises(ConfigError, match=r"barman\.conf:4: "):
            load(general=line)

    def test_diagnose_shows_the_section_as_written(self, load: Load, tmp_path: Path) -> None:
        shown = dict(load(general="retention_policy = redundancy 2").barman.items())
        assert shown["retention_policy"] == "redundancy 2"
        assert shown["lock_directory_cleanup"] is True
        assert shown["barman_lock_directory"] == f"{tmp_path}/home"
        assert "log_file" not in shown


class TestFiles:
    def test_included_files_are_merged_by_name_and_the_last_wins(self, load: Load) -> None:
        files: dict[str, str | bytes] = {
            "conf.d/20.conf": "[pg]\nslot_name = b\n[x]\nactive=off\n",
            "conf.d/10.conf": "[pg]\nslot_name = a\npath_prefix = /a\n",
            "conf.d/30.txt": "[pg]\nslot_name = c\n",
        }
        loaded = load("[pg]\nslot_name = main\n" + GOOD, files=files)
        pg = loaded.servers["pg"]
        assert (pg.slot_name, pg.path_prefix, pg.conninfo) == ("b", "/a", "host=a")
        assert os.path.basename(pg.source("slot_name")) == "20.conf"
        assert (os.path.basename(pg.source("conninfo")), pg.source("compression")) == ("barman.conf", "default")
        assert list(loaded.servers) == ["pg", "x"]

    def test_the_auto_file_wins_over_everything(self, load: Load) -> None:
        files: dict[str, str | bytes] = {
            "conf.d/z.conf": "[pg]\nslot_name = b\n",
            "home/.barman.auto.conf": "[pg]\nslot_name=auto\n",
        }
        assert load("[pg]\n" + GOOD, files=files).servers["pg"].slot_name == "auto"

    def test_a_tilde_in_the_include_directory_is_the_home_of_the_environment(self, tmp_path: Path) -> None:
        (tmp_path / "d").mkdir()
        (tmp_path / "d" / "a.conf").write_text("[pg]\n")
        (tmp_path / "c").write_text("[barman]\nbarman_home = /h\nconfiguration_files_directory = ~/d\n")
        assert list(load_settings(str(tmp_path / "c"), {"HOME": str(tmp_path)}).servers) == ["pg"]

    def test_an_include_directory_that_is_none_is_only_logged(self, load: Load) -> None:
        loaded = load(general="configuration_files_directory = /no/such/dir")
        assert messages(loaded) == []
        assert "/no/such/dir" in loaded.log_problems[0].text

    def test_a_directory_named_like_an_include_is_discarded(self, load: Load, tmp_path: Path) -> None:
        (tmp_path / "conf.d" / "x.conf").mkdir(parents=True)
        assert "not a regular file" in load().log_problems[0].text

    def test_a_file_that_cannot_be_read_is_reported_and_the_others_count(self, load: Load, tmp_path: Path) -> None:
        (tmp_path / "home" / ".barman.auto.conf").mkdir(parents=True)
        loaded = load("[pg]\n" + GOOD)
        assert messages(loaded) == [
            f"cannot read configuration file '{tmp_path}/home/.barman.auto.conf': Is a directory"
        ]
        assert not loaded.servers["pg"].disabled

    def test_repeating_the_global_section_unchanged_is_tolerated(self, load: Load, tmp_path: Path) -> None:
        load(files={"conf.d/a.conf": f"[barman]\nbarman_home = {tmp_path}/home\n"})

    def test_changing_the_global_section_in_an_included_file_is_fatal(self, load: Load) -> None:
        with pytest.raises(ConfigError) as caught:
            load(files={"conf.d/a.conf": "[barman]\nbarman_user = mallory\n"})
        assert caught.value.message.startswith("FATAL: ")
        assert "conf.d/a.conf" in caught.value.message
        assert caught.value.bare

    def test_damage_in_an_included_file_concerns_its_servers_alone(self, load: Load) -> None:
        broken = b"lost line\n[bad]\nconninfo = host=x\ndescription = caf\xe9\n[pg]\nslot_name = s\n"
        loaded = load(f"[pg]\n{GOOD}[other]\n{GOOD}", files={"conf.d/a.conf": broken})
        assert not loaded.servers["pg"].disabled
        assert loaded.servers["pg"].slot_name == "s"
        assert not loaded.servers["other"].disabled
        assert loaded.servers["bad"].disabled
        assert "conf.d/a.conf:4: the line is not valid UTF-8" in loaded.servers["bad"].msg_list[0]
        assert "conf.d/a.conf:1: text before the first section" in messages(loaded)[0]
        assert "conf.d/a.conf:4" in messages(loaded)[1]


class TestServers:
    def test_defaults(self, load: Load, tmp_path: Path) -> None:
        pg = load("[pg]\n" + GOOD).servers["pg"]
        home = f"{tmp_path}/home"
        assert (pg.name, pg.barman_home, pg.main_file) == ("pg", home, f"{tmp_path}/barman.conf")
        assert pg.backup_directory == f"{home}/pg"
        assert pg.basebackups_directory == f"{home}/pg/base"
        assert pg.xlogdb_directory == pg.wals_directory == f"{home}/pg/wals"
        assert (pg.cluster, pg.streaming_conninfo) == ("pg", "host=a")
        assert (pg.backup_method, pg.check_timeout, pg.compression_level) == ("rsync", 30, "medium")
        assert (pg.disabled, pg.msg_list, pg.passive_node, pg.active_model) == (False, [], False, None)

    def test_computed_directories_follow_those_they_are_computed_from(self, load: Load) -> None:
        pg = load("[pg]\nbackup_directory = /b\nwals_directory = /w\n" + GOOD).servers["pg"]
        assert (pg.errors_directory, pg.xlogdb_directory) == ("/b/errors", "/w")

    def test_inheritable_options_come_from_the_global_section_and_others_do_not(self, load: Load) -> None:
        pg = load("[pg]\n" + GOOD, "compression = gzip\ndescription = no\nslot_name = s").servers["pg"]
        assert (pg.compression, pg.slot_name, pg.description) == ("gzip", "s", None)

    @pytest.mark.parametrize(
        ("option", "inherited", "value", "expected"),
        [
            ("compression", "gzip", "", None),
            ("compression", "gzip", "None", None),
            ("compression", "gzip", '""', None),
            ("path_prefix", "/x", "", None),
            ("recovery_options", "get-wal", "", frozenset()),
            ("last_wal_maximum_age", "1 day", "", "1 day"),
            ("last_backup_minimum_size", "1k", "", 1000),
            ("encryption", "gpg", "none", None),
        ],
    )
    def test_an_empty_value_blocks_inheritance_or_counts_as_unset(
        self, load: Load, option: str, inherited: str, value: str, expected: object
    ) -> None:
        loaded = load(f"[pg]\n{option} = {value}\n{GOOD}", f"{option} = {inherited}")
        found = getattr(loaded.servers["pg"], option)
        shown = SERVER_OPTIONS[option].show(found) if expected == "1 day" else found
        assert shown == expected
        assert messages(loaded) == []

    def test_a_bad_value_is_reported_and_the_next_level_counts(self, load: Load) -> None:
        loaded = load(f"[pg]\nparallel_jobs = x\n{GOOD}[b]\n{GOOD}", "parallel_jobs = 4\nreuse_backup = y")
        assert (loaded.servers["pg"].parallel_jobs, loaded.servers["b"].parallel_jobs) == (4, 4)
        assert sorted(text[:80] for text in messages(loaded)) == [
            "Ignoring invalid configuration value 'x' for key parallel_jobs in [pg] section: ",
            "Ignoring invalid configuration value 'y' for key reuse_backup in [barman] sectio",
        ]
        assert {problem.origin.rpartition(":")[2] for problem in loaded.problems} == {"5", "7"}

    def test_an_empty_value_of_a_number_is_bad(self, load: Load) -> None:
        loaded = load(f"[pg]\ncheck_timeout =\n{GOOD}")
        assert loaded.servers["pg"].check_timeout == 30
        assert messages(loaded)[0].startswith("Ignoring invalid configuration value '' for key check_timeout in [pg]")

    def test_values_that_are_judged_late_are_only_logged(self, load: Load) -> None:
        loaded = load(
            "[pg]\nminimum_redundancy = -3\nbandwidth_limit = fast\nretention_policy = whatever\n"
            "retention_policy_mode = manual\nwal_retention_policy = x\ntablespace_bandwidth_limit = a:1 junk\n" + GOOD,
            "bandwidth_limit = 7",
        )
        pg = loaded.servers["pg"]
        assert (pg.minimum_redundancy, pg.bandwidth_limit, pg.retention_policy) == (0, None, "whatever")
        assert (pg.retention_policy_mode, pg.wal_retention_policy) == ("auto", "main")
        assert pg.tablespace_bandwidth_limit == {"a": 1}
        assert messages(loaded) == []
        assert len(loaded.log_problems) == 6

    def test_unknown_options_are_named_and_disabled_is_ignored(self, load: Load) -> None:
        loaded = load(f"[pg]\ndisabled = true\nfoo = 1\nmodel = off\n{GOOD}")
        assert messages(loaded) == [
            'Invalid configuration option "foo" in [pg] section.',
            'Invalid configuration option "model" in [pg] section.',
        ]
        assert not loaded.servers["pg"].disabled

    def test_a_bad_reference_disables_its_server_alone(self, load: Load, tmp_path: Path) -> None:
        loaded = load(f"[a]\npath_prefix = %(nothing)s\n{GOOD}[b]\n{GOOD}")
        assert loaded.servers["a"].msg_list[0].startswith(f"{tmp_path}/barman.conf:6: option 'path_prefix'")
        assert loaded.problems[0].disables_server
        assert not loaded.servers["b"].disabled

    def test_the_name_all_is_reserved(self, load: Load) -> None:
        with pytest.raises(ConfigError, match="^FATAL: the reserved word 'all'"):
            load("[all]\n" + GOOD)

    @pytest.mark.parametrize("name", ["../x", "..", "a/b"])
    def test_a_name_that_is_a_path_disables_the_server(self, load: Load, name: str) -> None:
        assert "invalid server name" in load(f"[{name}]\n{GOOD}").servers[name].msg_list[0]

    def test_rows_are_sorted_and_complete(self, load: Load) -> None:
        rows = list(load("[pg]\nlast_wal_maximum_age = 2 days\n" + GOOD).servers["pg"].items())
        names = [name for name, _value in rows]
        assert names == sorted([*SERVER_OPTIONS, "name", "disabled"])
        assert str(dict(rows)["backup_options"]) == "BackupOptions({'concurrent_backup'})"
        assert str(dict(rows)["last_wal_maximum_age"]) == "2 days, 0:00:00"

    def test_json_rows_hold_texts_and_native_values(self, load: Load) -> None:
        rows = dict(load("[pg]\nlast_wal_maximum_age = 2 days\n" + GOOD).servers["pg"].json_items())
        assert rows["backup_options"] == "concurrent_backup"
        assert rows["last_wal_maximum_age"] == "2 days"
        assert (rows["disabled"], rows["name"], rows["aws_sse_customer_key"]) == (False, "pg", None)

    def test_the_layout_has_the_configured_directories(self, load: Load, tmp_path: Path) -> None:
        layout = (
            load("[pg]\nincoming_wals_directory = /in\n" + GOOD, "barman_lock_directory = /l").servers["pg"].layout()
        )
        assert (layout.server_name, layout.incoming_directory, layout.lock_directory) == ("pg", "/in", "/l")
        assert layout.active_model == os.path.join(layout.backup_directory, ACTIVE_MODEL_FILE)

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.dictionaries(st.sampled_from(sorted(SERVER_OPTIONS)), st.text(max_size=20), max_size=8))
    def test_no_value_ever_stops_the_other_servers(self, load: Load, values: dict[str, str]) -> None:
        lines = "".join(f"{name} = {' '.join(value.split())}\n" for name, value in values.items())
        loaded = load(f"[good]\n{GOOD}[bad]\n{lines}")
        assert loaded.servers["good"].disabled is False
        dict(loaded.servers["bad"].json_items())


class TestModels:
    MODEL = "[m]\nmodel = yes\ncluster = pg\nconninfo = host=m\nparallel_jobs = 3\n"

    def test_a_model_is_no_server(self, load: Load) -> None:
        loaded = load("[pg]\n" + GOOD + self.MODEL)
        assert (list(loaded.servers), list(loaded.models)) == (["pg"], ["m"])
        rows = dict(loaded.models["m"].json_items())
        assert (rows["model"], rows["cluster"], rows["parallel_jobs"], rows["compression"]) == (True, "pg", 3, None)

    def test_options_that_a_model_may_not_have_are_named(self, load: Load) -> None:
        loaded = load(self.MODEL + "wals_directory = /x\npre_backup_script = x\n")
        assert len(messages(loaded)) == 2
        assert messages(loaded)[0] == 'Invalid configuration option "wals_directory" in [m] section.'

    def test_the_cluster_is_required(self, load: Load) -> None:
        with pytest.raises(ConfigError, match=r'^Parameter "cluster" is required in \[m\] section\.'):
            load("[m]\nmodel = true\n")

    def test_neither_server_nor_model_is_disabled(self, load: Load) -> None:
        loaded = load(f"[m]\nmodel = maybe\n{GOOD}")
        assert "option 'model'" in loaded.servers["m"].msg_list[0]

    def test_the_active_model_replaces_values_but_not_what_was_computed_from_them(
        self, load: Load, tmp_path: Path
    ) -> None:
        (tmp_path / "home" / "pg").mkdir(parents=True)
        (tmp_path / "home" / "pg" / ACTIVE_MODEL_FILE).write_text("m")
        pg = load("[pg]\n" + GOOD + self.MODEL).servers["pg"]
        assert (pg.active_model, pg.conninfo, pg.parallel_jobs) == ("m", "host=m", 3)
        assert pg.streaming_conninfo == "host=a"

    def test_a_blank_active_model_is_none(self, load: Load, tmp_path: Path) -> None:
        (tmp_path / "home" / "pg").mkdir(parents=True)
        (tmp_path / "home" / "pg" / ACTIVE_MODEL_FILE).write_text(" \n")
        pg = load("[pg]\n" + GOOD + self.MODEL).servers["pg"]
        assert (pg.active_model, pg.disabled) == (None, False)

    def test_an_active_model_that_does_not_exist_disables_the_server(self, load: Load, tmp_path: Path) -> None:
        (tmp_path / "home" / "pg").mkdir(parents=True)
        (tmp_path / "home" / "pg" / ACTIVE_MODEL_FILE).write_text("gone")
        message = load("[pg]\n" + GOOD + self.MODEL).servers["pg"].msg_list[0]
        assert "'gone'" in message
        assert "'pg'" in message

    def test_an_active_model_that_cannot_be_read_disables_the_server(self, load: Load, tmp_path: Path) -> None:
        (tmp_path / "home" / "pg" / ACTIVE_MODEL_FILE).mkdir(parents=True)
        assert "cannot read the active model" in load("[pg]\n" + GOOD).servers["pg"].msg_list[0]

    def test_a_damaged_model_disables_the_servers_that_use_it(self, load: Load, tmp_path: Path) -> None:
        (tmp_path / "home" / "pg").mkdir(parents=True)
        (tmp_path / "home" / "pg" / ACTIVE_MODEL_FILE).write_text("m")
        loaded = load(f"[pg]\n{GOOD}[other]\n{GOOD}{self.MODEL}slot_name = %(x)s\n")
        assert loaded.servers["pg"].disabled
        assert not loaded.servers["other"].disabled

    def test_switching_models_judges_the_declared_values_again(self, load: Load) -> None:
        loaded = load(
            "[pg]\nconninfo = host=a\nssh_command = ssh a\n[m]\nmodel = on\ncluster = pg\n"
            "streaming_archiver = on\nslot_name = s\nbackup_method = postgres\n"
        )
        pg = loaded.servers["pg"]
        assert (pg.archiver, len(pg.notices)) == (True, 3)
        switched = pg.with_model(loaded.models["m"])
        assert (switched.archiver, switched.notices, switched.active_model) == (False, [], "m")
