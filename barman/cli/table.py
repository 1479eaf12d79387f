"""Every command: its name, aliases, module and help line. Nothing named here is imported until it is chosen."""

from __future__ import annotations


class Command:
    """One line of the table; `module` lies in `barman.cli.commands`."""

    __slots__ = ("aliases", "help", "module", "name")

    def __init__(self, name: str, help: str, aliases: tuple[str, ...] = ()) -> None:
        self.name = name
        self.module = name.replace("-", "_")
        self.help = help
        self.aliases = aliases


COMMANDS = (
    Command("archive-wal", "Archive the WAL files waiting in the incoming and streaming directories"),
    Command("backup", "Take a full backup of one or more servers"),
    Command("check", "Check whether the configured servers can be backed up and recovered"),
    Command("check-archived-wal-range", "Check that every WAL segment of a range is in the archive"),
    Command("check-backup", "Check that the WAL files a backup needs are archived"),
    Command("check-wal-archive", "Check that the WAL archive can receive a new server's WAL"),
    Command("config-switch", "Let a server use a configuration model, or none"),
    Command("config-update", "Change options of servers and models in the configuration files"),
    Command("cron", "Run the maintenance tasks; meant to be started every minute"),
    Command("delete", "Delete a backup and the WAL files that nothing else needs"),
    Command("diagnose", "Print all that is known for problem reports, as JSON"),
    Command("export-backup", "Write a backup with the WAL that it needs into one file"),
    Command("generate-manifest", "Write a backup_manifest for a backup that has none"),
    Command("get-wal", "Send a WAL file from the archive to standard output or a directory"),
    Command("import-backup", "Take an exported backup into the catalog of its server"),
    Command("keep", "Keep a backup beyond the retention policy, or release it"),
    Command("list-backups", "List the backups of one or more servers", ("list-backup",)),
    Command("list-files", "List the files of a backup"),
    Command("list-processes", "List the running processes of a server", ("list-process",)),
    Command("list-servers", "List the configured servers", ("list-server",)),
    Command("lock-directory-cleanup", "Remove lock files that nobody holds"),
    Command("metrics", "Print metrics of one or more servers as OpenMetrics text"),
    Command("put-wal", "Take WAL files from a tar stream on standard input"),
    Command("rebuild-xlogdb", "Rebuild the WAL index from the files in the archive"),
    Command("receive-wal", "Receive WAL from a server until interrupted; manage its replication slot"),
    Command("recovery-window", "Show from when to when servers can be recovered, and which WAL is missing"),
    Command("replication-status", "Show the streaming clients of one or more servers"),
    Command("restore", "Restore a backup, to its end or to a point in time", ("recover",)),
    Command("retention", "Show what the retention policy keeps, why, and what the next run of cron deletes"),
    Command("show-backup", "Show what is known about a backup", ("show-backups",)),
    Command("show-servers", "Show configuration and live state of one or more servers", ("show-server",)),
    Command("status", "Show the state of one or more servers"),
    Command("switch-wal", "Make a server finish its WAL segment", ("switch-xlog",)),
    Command("sync-backup", "On a passive node: copy a backup from the primary"),
    Command("sync-info", "Tell passive nodes what this node has, or ask the primary; one JSON document"),
    Command("sync-wals", "On a passive node: copy missing WAL files from the primary"),
    Command("terminate-process", "End a running process of a server"),
    Command("verify-backup", "Verify the files of a backup against its manifest", ("verify",)),
    Command("wal-errors", "List, retry or drop the WAL files that were refused"),
)


def find(name: str) -> Command | None:
    """Return the command that answers to a name or an alias."""
    for command in COMMANDS:
        if name == command.name or name in command.aliases:
            return command
    return None
