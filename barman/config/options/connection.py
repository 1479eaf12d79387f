"""Options that say what a server is and how PostgreSQL is reached."""

from __future__ import annotations

from barman.config import option, values
from barman.config.option import GSM, SM, Option, OptionSet


class IdentityOptions(OptionSet):
    """Identity of a server."""

    active = option.boolean(
        True,
        "An inactive server is left alone by `cron` and `backup`; its catalog can still be read and restored.",
        SM,
    )
    description = option.text("Free text shown by `list-servers` and `status`.", SM)
    cluster = Option(
        values.NAME,
        "",
        "Name that groups a server with the models it may take; required in models.",
        SM,
        template="%(name)s",
    )


class ConnectionOptions(OptionSet):
    """Connections to PostgreSQL and to hosts."""

    conninfo = option.connection(
        "Connection for backups and monitoring. Required unless the node is passive. `application_name=barman` is "
        "added when absent. Like the others it may name several hosts, with `target_session_attrs`."
    )
    streaming_conninfo = option.connection(
        "Replication connection, for `pg_basebackup` and `pg_receivewal`.", template="%(conninfo)s"
    )
    wal_streaming_conninfo = option.connection(
        "Replaces `streaming_conninfo` for everything that streams WAL, for instance to receive from a standby."
    )
    wal_conninfo = option.connection(
        "Ordinary connection used with `wal_streaming_conninfo` to look at slots and settings; by default "
        "`wal_streaming_conninfo`, then `conninfo`."
    )
    primary_conninfo = option.connection(
        "Primary of the standby in `conninfo`: there WAL is switched, and checkpoints are made for a backup of the "
        "standby. Ignored, with a warning, when `conninfo` leads to no standby."
    )
    primary_checkpoint_timeout = option.count(
        0,
        "Backup of a standby: wait this long for its WAL, and then force a checkpoint and a switch of WAL on the "
        "primary; 0 never does.",
        SM,
        unit="seconds",
    )
    primary_ssh_command = option.shell(
        "How to reach another Barman that has a server of the same name. Setting it makes this server a passive node, "
        "which copies backups and WAL from there.",
        GSM,
    )
    forward_config_path = option.boolean(
        False, "On a passive node: pass the name of this main configuration file to the remote `barman`."
    )
    ssh_command = option.shell("How to reach the host of PostgreSQL, for instance `ssh postgres@db1`.", SM)
    path_prefix = option.text(
        "Directories put before `PATH` for every program and hook script that is started.",
        GSM,
        values.PATH_LIST,
    )
    slot_name = option.text("Physical replication slot for `receive-wal`.", GSM, values.SLOT)
    create_slot = option.choice(
        values.choice_kind("manual", "auto"), "manual", "With `auto`, `receive-wal` creates a missing slot."
    )
    immediate_checkpoint = option.boolean(False, "Ask for a fast checkpoint when a backup begins.")
    keepalive_interval = option.count(
        60, "Pause between the queries that keep the connection open during a copy; 0 sends none.", unit="seconds"
    )
    warehousepg_dbid = option.optional_count("WarehousePG: passed to `pg_basebackup` as `--target-gp-dbid`.")
