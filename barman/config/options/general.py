"""Options of the [barman] section alone (config.md §4)."""

from __future__ import annotations

from barman.config import option, values
from barman.config.option import Option, OptionSet

GLOBAL = "G"


class GlobalOptions(OptionSet):
    """What concerns the installation, not one server."""

    barman_home = Option(values.PATH, "", "Root of all data of all servers. Required.", GLOBAL)
    barman_user = Option(
        values.NAME, "barman", "System user that Barman runs as; also used in generated `restore_command`s.", GLOBAL
    )
    barman_lock_directory = Option(
        values.PATH,
        "",
        "Directory of the lock files; must be on a local file system.",
        GLOBAL,
        template="%(barman_home)s",
    )
    lock_directory_cleanup = option.boolean(True, "Let `cron` remove unused lock files at its end.", GLOBAL)
    config_changes_queue = Option(
        values.PATH,
        "",
        "Queue of configuration changes made by programs that are not applied yet (JSON).",
        GLOBAL,
        template="%(barman_home)s/cfg_changes.queue",
    )
    configuration_files_directory = option.text(
        "Directory whose `*.conf` files are read, sorted by name, after the main file; `~` is expanded.", GLOBAL
    )
    log_file = option.text("Log file; without it the log goes to standard error.", GLOBAL)
    log_level = Option(
        values.NAME,
        "INFO",
        "Least level that is logged: `DEBUG`, `INFO`, `WARNING`, `ERROR`, `CRITICAL`, or an integer.",
        GLOBAL,
    )
    log_format = Option(
        values.NAME,
        "%(asctime)s [%(process)s] %(name)s %(levelname)s: %(message)s",
        "Format of a log line, as Python's logging takes it. A literal percent sign is written `%%`.",
        GLOBAL,
    )
