"""`status` and `show-servers` of servers that cannot be reached."""

from barman.config.loader import load_settings
from barman.server.server import Server
from barman.status.remote import read_remote_status, show_server
from barman.status.server import read_status
from tests.support.catalog_builder import add_backup, write
from tests.support.fix_upstream import write_config

UNREACHABLE = {
    "conninfo": "host=/nowhere user=barman dbname=postgres",
    "streaming_conninfo": "host=/nowhere user=barman",
    "backup_method": "postgres",
    "archiver": "on",
}


def server_of(tmp_path, **options):
    path = write_config(str(tmp_path), {"main": {**UNREACHABLE, **options}})
    return Server(load_settings(path, {}).servers["main"])


def messages(status):
    return {line.key: line.message for line in status.lines}


def test_a_server_that_is_down_is_a_line_and_the_catalog_is_still_shown(tmp_path):
    found = messages(read_status(server_of(tmp_path, retention_policy="redundancy 2", minimum_redundancy="1")))
    assert found == {
        "active": "True",
        "disabled": "False",
        "active_model": "None",
        "pg_version": "FAILED trying to get PostgreSQL version",
        "passive_node": "False",
        "retention_policies": "enforced (mode: auto, retention: REDUNDANCY 2, WAL retention: MAIN)",
        "backups_number": "0",
        "first_backup": "None",
        "last_backup": "None",
        "minimum_redundancy": "FAILED (0/1)",
        "recovery_window": "none: there is no backup",
    }


def test_the_description_comes_first(tmp_path):
    assert read_status(server_of(tmp_path, description="Main PG")).lines[0].message == "Main PG"


def test_a_passive_node_names_its_way_to_the_primary(tmp_path):
    status = read_status(server_of(tmp_path, primary_ssh_command="ssh barman@primary"))
    assert messages(status)["primary_ssh_command"] == "ssh barman@primary"
    assert "pg_version" not in messages(status)


def test_a_disabled_server_without_conninfo_is_shown(tmp_path):
    server = server_of(tmp_path, conninfo="")
    assert messages(read_status(server))["disabled"] == "True"
    assert "conninfo" in show_server(server).items["connection_error"]


def test_live_facts_of_an_unreachable_server_are_none(tmp_path):
    found = read_remote_status(server_of(tmp_path, streaming_archiver="on", slot_name="barman"))
    assert found["server_txt_version"] is None
    assert found["archive_mode"] is None
    assert found["streaming"] is None
    assert "No such file or directory" in found["connection_error"]
    assert found["pg_receivexlog_compatible"] is None


def test_show_servers_has_every_option(tmp_path):
    items = show_server(server_of(tmp_path, last_backup_maximum_age="1 day")).items
    assert items["basebackups_directory"] == str(tmp_path / "main" / "base")
    assert str(items["backup_options"]) == "BackupOptions({'concurrent_backup'})"
    assert items["wal_retention_policy"] == "main"
    assert "WARNING!" in items["last_backup_maximum_age"]
    assert {"active_model", "passive_node", "name", "disabled"} <= items.keys()


def test_a_policy_that_cannot_be_read_is_not_enforced(tmp_path):
    found = messages(read_status(server_of(tmp_path, retention_policy="bogus")))
    assert found["retention_policies"] == "not enforced"


def test_a_backup_that_lost_its_wal_is_no_redundancy(tmp_path):
    server = server_of(tmp_path, minimum_redundancy="1")
    server.catalog.ensure_directories()
    info = add_backup(server.catalog, "20260101T000000", begin=4, end=4)
    assert messages(read_status(server))["minimum_redundancy"] == "FAILED (0/1)"
    write(server.catalog.layout.wal_path(info.begin_wal), "")
    assert messages(read_status(server))["minimum_redundancy"] == "satisfied (1/1)"
