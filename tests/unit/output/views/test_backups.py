"""What `list-backups` and `show-backup` print; clients parse it with the expressions used here."""

import re

from barman.output.views.backups import BackupDetailsView, BackupListView
from barman.status.backup_details import BackupDetails
from barman.status.backups import BackupList, BackupRow, WalUsage
from barman.values import replace
from tests.support.catalog_builder import make_info

INFO = make_info("20261122T051010", begin=8, size=5000, deduplicated_size=3000)


def console(view, result):
    lines = []
    view.console(result, lines.append)
    return lines


def line(**changes):
    retention = changes.pop("retention", "")
    row = BackupRow(replace(INFO, **changes), WalUsage(1, 256), WalUsage(5, 15872), retention)
    return console(BackupListView, BackupList("pg", (row,)))[0]


def details(**changes):
    info = replace(INFO, **changes)
    return BackupDetails(
        "pg",
        info,
        "VALID",
        WalUsage(1, 256),
        WalUsage(5, 15872),
        wals_per_second=1 / 3000,
        last_available="00000001000000000000000D",
        previous_id="20261101T000000",
    )


def test_a_backup_is_one_line():
    assert line() == "pg 20261122T051010 - F - Sun Nov 22 05:10:12 2026 - Size: 5.1 KiB - WAL Size: 15.5 KiB"


def test_the_letter_tells_the_type():
    assert " - I - " in line(parent_backup_id="20261101T000000")
    assert " - R - " in line(mode="rsync-concurrent")
    assert " - S - " in line(mode="snapshot-concurrent")


def test_name_waiting_and_retention_have_their_places():
    assert line(backup_name="first-b", status="WAITING_FOR_WALS", retention="OBSOLETE") == (
        "pg 20261122T051010 'first-b' - F - Sun Nov 22 05:10:12 2026 - Size: 5.1 KiB - WAL Size: 15.5 KiB"
        " - WAITING_FOR_WALS - OBSOLETE"
    )
    assert line(retention="VALID") == line(retention="-") == line()


def test_an_unfinished_backup_shows_its_status_only():
    assert line(status="FAILED", backup_name="n2") == "pg 20261122T051010 'n2' - F - FAILED"


def test_expressions_of_monitoring_scripts_match():
    assert re.match(r"^(.+)\s(\d+T\d+)", line()).groups() == ("pg", "20261122T051010")
    assert re.match(r".+Size:\s(\S+)\s(\S+)\s-.+Size:\s(\S+)\s(\S+)", line()).groups() == ("5.1", "KiB", "15.5", "KiB")
    assert re.match(r".+(FAILED|STARTED)", line(status="STARTED")).group(1) == "STARTED"
    assert line().split()[1] == "20261122T051010"


def test_the_list_in_json():
    row = BackupRow(INFO, WalUsage(1, 256), WalUsage(5, 15872), "OBSOLETE*")
    failed = BackupRow(replace(INFO, status="FAILED", mode="rsync-concurrent"))
    assert BackupListView.json(BackupList("pg", (row, failed))) == {
        "pg": [
            {
                "backup_id": "20261122T051010",
                "backup_type": "full",
                "end_time": "Sun Nov 22 05:10:12 2026",
                "end_time_timestamp": "1795324212",
                "retention_status": "OBSOLETE*",
                "size": "5.1 KiB",
                "size_bytes": 5256,
                "status": "DONE",
                "wal_size": "15.5 KiB",
                "wal_size_bytes": 15872,
            },
            {"backup_id": "20261122T051010", "backup_type": "rsync", "status": "FAILED"},
        ]
    }
    assert BackupListView.json(BackupList("pg", (row,), minimal=True)) == {"pg": ["20261122T051010"]}


def test_the_details_of_a_backup():
    assert console(BackupDetailsView, details()) == [
        "Backup 20261122T051010:",
        "  Server Name            : pg",
        "  System Id              : 7454545454545454545",
        "  Status                 : DONE",
        "  PostgreSQL Version     : 150018",
        "  PGDATA directory       : /var/lib/postgresql/15/main",
        "  Estimated Cluster Size : 8.0 KiB",
        "",
        "  Server information:",
        "    Checksums            : on",
        "",
        "  Tablespaces:",
        "    tsa                  : /srv/tsa (oid: 16390)",
        "",
        "  Base backup information:",
        "    Backup Method        : postgres",
        "    Backup Type          : full",
        "    Backup Size          : 2.9 KiB (3.2 KiB with WALs)",
        "    WAL Size             : 256 B",
        "    Timeline             : 1",
        "    Begin WAL            : 000000010000000000000008",
        "    End WAL              : 000000010000000000000008",
        "    Number of WALs       : 1",
        "    WAL compression ratio: 100.00%",
        "    Begin time           : 2026-11-22 05:10:10+00:00",
        "    End time             : 2026-11-22 05:10:12+00:00",
        "    Copy time            : 1 second",
        "    Estimated throughput : 2.0 KiB/s",
        "    Begin Offset         : 40",
        "    End Offset           : 256",
        "    Begin LSN            : 0/8000028",
        "    End LSN              : 0/8000100",
        "",
        "  WAL information:",
        "    Number of files      : 5",
        "    Disk usage           : 15.5 KiB",
        "    WAL rate             : 1.20/hour",
        "    Compression ratio    : 99.98%",
        "    Last available       : 00000001000000000000000D",
        "",
        "  Catalog information:",
        "    Retention Policy     : VALID",
        "    Previous Backup      : 20261101T000000",
        "    Next Backup          : - (this is the latest base backup)",
    ]


def test_scripts_find_the_status_of_a_backup():
    text = "\n".join(console(BackupDetailsView, details()))
    assert re.search("Status *: DONE", text)
    assert re.search("Begin time", text)


def test_a_failed_backup_shows_its_error_and_ends():
    result = BackupDetails("rs", replace(INFO, status="FAILED", error="failure copying files (x)"))
    assert console(BackupDetailsView, result)[-4:] == [
        "  Server information:",
        "    Checksums            : on",
        "",
        "  Error                  : failure copying files (x)",
    ]
    assert BackupDetailsView.json(result) == {
        "rs": {
            "backup_id": "20261122T051010",
            "error": "failure copying files (x)",
            "server_information": {"data_checksums": "on", "summarize_wal": None},
            "status": "FAILED",
            "system_id": "7454545454545454545",
        }
    }


def test_names_of_older_releases_stay_in_json():
    found = BackupDetailsView.json(details(mode="rsync-concurrent"))["pg"]["base_backup_information"]
    assert (found["disk_usage_bytes"], found["incremental_size_bytes"], found["backup_size_bytes"]) == (
        5000,
        3000,
        3000,
    )
    assert found["resources_saved_percentage"] == "40.00%"
    assert found["copy_time_seconds"] == 1.5
    assert found["end_time"] == "2026-11-22 05:10:12+00:00"


def test_an_incremental_backup_names_its_family():
    info = replace(INFO, parent_backup_id="20261121T000000", children_backup_ids=("20261123T000000",))
    result = replace(details(), info=info, root_id="20261120T000000", chain_size=3)
    assert console(BackupDetailsView, result)[-4:] == [
        "    Root Backup          : 20261120T000000",
        "    Parent Backup        : 20261121T000000",
        "    Backup chain size    : 3",
        "    Children Backup(s)   : 20261123T000000",
    ]
    assert BackupDetailsView.json(result)["pg"]["catalog_information"] == {
        "chain_size": 3,
        "children_backup_ids": ["20261123T000000"],
        "next_backup": "- (this is the latest base backup)",
        "parent_backup_id": "20261121T000000",
        "previous_backup": "20261101T000000",
        "retention_policy": "VALID",
        "root_backup_id": "20261120T000000",
    }


def test_interacting_timelines_are_a_warning():
    result = replace(details(children_backup_ids=("20261123T000000",)), timelines=(2, 3))
    lines = console(BackupDetailsView, result)
    assert "    Reachable timelines  : 2, 3" in lines
    assert lines[-3:] == [
        "",
        "WARNING: WAL information is inaccurate due to multiple timelines interacting with this backup",
        "    Children Backup(s)   : 20261123T000000",
    ]
    assert BackupDetailsView.json(result)["pg"]["wal_information"]["timelines"] == ["2", "3"]
