"""What `status`, `show-servers`, `replication-status` and `diagnose` print."""

import json
from datetime import datetime, timedelta, timezone

from barman.output.views.diagnose import DiagnosisView
from barman.output.views.replication import ReplicationStatusView
from barman.output.views.server_details import ServerDetailsView
from barman.output.views.status import ServerStatusView
from barman.postgres.lsn import Lsn
from barman.status.diagnose import Diagnosis
from barman.status.remote import ServerDetails
from barman.status.replication import ReplicationClient, ReplicationStatus
from barman.status.server import ServerStatus, StatusLine

STANDBY = ReplicationClient(
    application_name="sb1",
    user_name="postgres",
    client_addr="127.0.0.1",
    client_hostname=None,
    client_port=43694,
    pid=13594,
    backend_start=datetime(2026, 11, 22, 5, 22, 3, 949332, tzinfo=timezone.utc),
    backend_xmin=None,
    state="streaming",
    sync_state="sync",
    sync_priority=1,
    slot_name="sb1_slot",
    sent_lsn=Lsn(0x28000000),
    write_lsn=Lsn(0x28000000),
    flush_lsn=Lsn(0x28000000),
    replay_lsn=Lsn(0x28000000 - 2048),
    server_lsn=Lsn(0x28000000),
)
STREAMER = ReplicationClient(
    application_name="barman_receive_wal",
    user_name="streaming_barman",
    client_addr=None,
    client_hostname=None,
    client_port=None,
    pid=7,
    backend_start=datetime(2026, 11, 22, tzinfo=timezone.utc),
    backend_xmin=None,
    state="streaming",
    sync_state="async",
    sync_priority=0,
    slot_name=None,
    sent_lsn=Lsn(0x28000000),
    write_lsn=Lsn(0x28000000),
    flush_lsn=None,
    replay_lsn=None,
    server_lsn=Lsn(0x28000000),
)


def console(view, result):
    lines = []
    view.console(result, lines.append)
    return lines


HERE = Lsn(0x28000000)


def replication(*clients, target="all", minimal=False, lsn=HERE):
    return ReplicationStatus("pg", target, lsn, clients, minimal)


def test_status_is_a_line_a_fact():
    result = ServerStatus("pg", (StatusLine("first_backup", "First available backup", "20261122T051010"),))
    assert console(ServerStatusView, result) == ["Server pg:", "\tFirst available backup: 20261122T051010"]
    assert ServerStatusView.json(result) == {
        "pg": {"first_backup": {"description": "First available backup", "message": "20261122T051010"}}
    }


def test_show_servers_prints_tab_key_value_sorted():
    result = ServerDetails("pg", True, False, "", {"wals_directory": "/w", "conninfo": "host=x", "slot_name": None})
    assert console(ServerDetailsView, result) == [
        "Server pg:",
        "\tconninfo: host=x",
        "\tslot_name: None",
        "\twals_directory: /w",
    ]


def test_show_servers_in_json_keeps_plain_values_and_texts_the_rest():
    items = {"a": 1, "b": True, "c": ["x"], "d": timedelta(hours=1), "current_size": 5, "description": None}
    found = ServerDetailsView.json(ServerDetails("pg", True, False, "Main", items))["pg"]
    assert found == {
        "a": 1,
        "b": True,
        "c": ["x"],
        "d": "1:00:00",
        "current_size": "5",
        "description": "Main",
        "last_backup_maximum_age": "None",
    }


def test_a_replication_client_is_a_block():
    assert console(ReplicationStatusView, replication(STANDBY)) == [
        "Status of streaming clients for server 'pg':",
        "  Current LSN on master: 0/28000000",
        "  Number of streaming clients: 1",
        "",
        "  1. #1 Sync standby",
        "     Application name: sb1",
        "     Sync stage      : 4/5 2-safe",
        "     Communication   : TCP/IP",
        "     IP Address      : 127.0.0.1 / Port: 43694 / Host: -",
        "     User name       : postgres",
        "     Current state   : streaming (sync)",
        "     Replication slot: sb1_slot",
        "     WAL sender PID  : 13594",
        "     Started at      : 2026-11-22 05:22:03.949332+00:00",
        "     Sent LSN   : 0/28000000 (diff: 0 B)",
        "     Write LSN  : 0/28000000 (diff: 0 B)",
        "     Flush LSN  : 0/28000000 (diff: 0 B)",
        "     Replay LSN : 0/27FFF800 (diff: -2.0 KiB)",
    ]


def test_minimal_replication_status_is_a_line_a_client():
    assert console(ReplicationStatusView, replication(STANDBY, STREAMER, minimal=True)) == [
        "Streaming clients for master 'pg' (LSN @ 0/28000000):",
        "  1. S) postgres@127.0.0.1 S:0/28000000 F:0/28000000 R:0/27FFF800 P:1 AN:sb1",
        "  2. W) streaming_barman@socket S:0/28000000 W:0/28000000 P:0 AN:barman_receive_wal",
    ]


def test_titles_follow_the_target():
    assert console(ReplicationStatusView, replication(target="wal-streamer", minimal=True, lsn=None)) == [
        "Wal streamers for slave 'pg':",
        "  No WAL streamers attached",
    ]
    assert ReplicationStatusView.json(replication(target="hot-standby")) == {
        "pg": {
            "hot_standby_servers": [],
            "server_lsn": "0/28000000",
            "standby_info": "No hot standby servers attached",
        }
    }


def test_differences_are_numbers_and_texts_in_json():
    (client,) = ReplicationStatusView.json(replication(STANDBY))["pg"]["streaming_clients"]
    assert (client["replay_lsn_diff"], client["replay_lsn_diff_bytes"]) == ("-2.0 KiB", -2048)
    assert (client["current_sync_state"], client["host"], client["port"]) == ("sync", None, 43694)
    (streamer,) = ReplicationStatusView.json(replication(STREAMER))["pg"]["streaming_clients"]
    assert "ip_address" not in streamer
    assert streamer["sync_stage"] == "3/3 Remote write"


def test_diagnose_is_one_document_without_passwords():
    document = {"servers": {"pg": {"config": {"conninfo": "host=x password='a b' user=y"}}}}
    (text,) = console(DiagnosisView, Diagnosis(document))
    assert json.loads(text)["servers"]["pg"]["config"]["conninfo"] == "host=x password=*REDACTED* user=y"
    assert DiagnosisView.json(Diagnosis(document)) == {"_INFO": [text]}
