"""The reference page, the man page barman(5) and the sample configuration, written from the declared options.

`python -m barman.config.reference docs|man|sample` prints one of them; with `--check` nothing is printed, and the exit
code is 1 when the file in docs/ is another.
"""

from __future__ import annotations

import os
import sys

from barman.config.loader import AUTO_FILE, CONFIG_FILE_VARIABLE, DEFAULT_FILES
from barman.config.server_config import GLOBAL_OPTIONS, SERVER_OPTIONS
from barman.config.values import Words
from barman.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from barman.config.option import Option

FILES = {"docs": "reference/configuration.md", "man": "man/barman.5", "sample": "reference/barman.conf.sample"}
TITLES = {
    "GlobalOptions": "Installation",
    "IdentityOptions": "Identity",
    "ConnectionOptions": "Connections",
    "StorageOptions": "Directories",
    "BackupOptionSet": "Backups",
    "WalOptions": "WAL archiving",
    "RetentionOptions": "Checks and retention",
    "RestoreOptions": "Restore",
    "HookOptions": "Hook scripts",
    "CloudOptions": "Cloud storage and snapshots",
}
NOTES = {
    "GlobalOptions": "Only in the `[barman]` section of the main file.",
    "StorageOptions": "Missing directories are created. Two servers must not use the same directory.",
    "CloudOptions": "These options are recognised and validated. Cloud storage and snapshots are not supported yet: a "
    "server that needs them is disabled, and says so.",
}
SCOPES = {
    "G": "`[barman]`",
    "GSM": "`[barman]`, server, model",
    "GS": "`[barman]`, server",
    "SM": "server, model",
    "S": "server",
}
LITERAL = "`"
EXPLANATION = (
    (
        "Files",
        (
            "One main file is read: the one given with `-c`, else the one named by the environment variable "
            f"`{CONFIG_FILE_VARIABLE}`, else the first of " + ", ".join(f"`{place}`" for place in DEFAULT_FILES) + ".",
            "Then every `*.conf` file in `configuration_files_directory` is read, sorted by name, and last "
            f"`{AUTO_FILE}` in `barman_home`, which `barman config-update` writes. What is read later wins, option by "
            "option. The `[barman]` section belongs into the main file; another file may only repeat what it says.",
        ),
    ),
    (
        "Syntax",
        (
            "`[name]` begins a section: `[barman]` is for all servers, a section with `model = true` is a model, every "
            "other one is a server of that name. `option = value` or `option : value` sets an option. An indented line "
            "continues the value above. A line that begins with `#` or `;` is a comment; nothing after a value is. "
            "Options of a `[DEFAULT]` section count for all sections of the same file. A pair of quotes around the "
            "whole value is taken off.",
            "`%(option)s` in a value stands for another option of the same section of the same file; a percent sign is "
            "written `%%` (the original's `%%%%` is understood too).",
        ),
    ),
    (
        "Values",
        (
            "The value of a server is taken from its section; else, if the option may stand there, from `[barman]`; "
            "else it is the default. An invalid value is reported and counts as not written. An empty value, or "
            "`None`, unsets a text, a command, a list, `compression` or `retention_policy`, so that nothing is "
            "inherited; an empty size or interval counts as not written; any other empty value is invalid.",
            "Whatever is wrong with one section concerns that server alone: `barman check` shows why it is disabled. "
            "Only a damaged `[barman]` section, or directories shared by two servers, stop every command.",
            "Booleans are `true`, `t`, `yes`, `1`, `on` and `false`, `f`, `no`, `0`, `off`. Sizes are integers with "
            "`k` (1000), `Ki` (1024), `M`, `Mi`, `G`, `Gi`, `T`, `Ti` or nothing behind them. Intervals are a number "
            "and `hours`, `days`, `weeks` or `months` (31 days). Words are understood in any case.",
        ),
    ),
    (
        "Models",
        (
            "A model holds options that replace those of a server after `barman config-switch`, while the file "
            "`.active-model.auto` in its `backup_directory` names the model. Server and model have the same `cluster`. "
            "A model inherits nothing "
            "and has no defaults. Defaults that were computed from an option, as "
            "`streaming_conninfo` is from `conninfo`, stay when a model replaces that option.",
        ),
    ),
)


def groups() -> Iterator[tuple[str, list[Option[Any]]]]:
    """Yield the declared options by group, in order of declaration."""
    for group in TITLES:
        options = GLOBAL_OPTIONS if group == "GlobalOptions" else SERVER_OPTIONS
        yield group, [option for option in options.values() if option.group == group]


def default_of(option: Option[Any]) -> str:
    """The default as it would be written, empty when there is none."""
    if option.template is not None:
        return option.template
    value = option.default
    if value is None or isinstance(value, Words) or value == "":
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if "size" in option.kind.grammar and isinstance(value, int) and value % 2**30 == 0:
        return f"{value // 2**30} Gi"
    return str(value)


def meaning_of(option: Option[Any]) -> str:
    """The documentation of an option, with what replaces it if it is deprecated."""
    if option.deprecated_by is None:
        return option.doc
    return f"Deprecated, use `{option.deprecated_by}`. {option.doc}"


def docs() -> str:
    """Return docs/reference/configuration.md."""
    lines = ["# Configuration", "", "Generated by `scripts/dev docs` from `barman/config/options`.", ""]
    for title, paragraphs in EXPLANATION:
        lines += [f"## {title}", ""]
        for paragraph in paragraphs:
            lines += [paragraph, ""]
    for group, options in groups():
        lines += [f"## {TITLES[group]}", ""]
        if group in NOTES:
            lines += [NOTES[group], ""]
        lines += ["| option | in | value | default | meaning |", "|---|---|---|---|---|"]
        for option in options:
            default = default_of(option)
            cells = (
                f"`{option.name}`",
                SCOPES[option.scope],
                option.kind.grammar,
                f"`{default}`" if default else "",
                meaning_of(option),
            )
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines)


def roff(text: str) -> str:
    """Return text that troff prints as it is, with code in bold."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    parts = escaped.split(LITERAL)
    bold = "".join(part if number % 2 == 0 else f"\\fB{part}\\fR" for number, part in enumerate(parts))
    return f"\\&{bold}" if bold.startswith((".", "'")) else bold


def man() -> str:
    """Return docs/man/barman.5."""
    lines = [
        '.TH BARMAN 5 "" "" "Barman-compatible backup manager"',
        ".SH NAME",
        "barman.conf \\- configuration of barman",
        ".SH DESCRIPTION",
        "How barman finds PostgreSQL servers and what it does for them.",
    ]
    for title, paragraphs in EXPLANATION:
        lines.append(f".SH {title.upper()}")
        for paragraph in paragraphs:
            lines += [".PP", roff(paragraph)]
    lines.append(".SH OPTIONS")
    for group, options in groups():
        lines.append(f".SS {TITLES[group]}")
        if group in NOTES:
            lines.append(roff(NOTES[group]))
        for option in options:
            default = default_of(option)
            facts = f"In: {SCOPES[option.scope]}. Value: {option.kind.grammar}."
            facts += f" Default: `{default}`." if default else ""
            lines += [".TP", f".B {roff(option.name)}", roff(meaning_of(option)), ".br", roff(facts)]
    lines += [".SH SEE ALSO", ".BR barman (1)"]
    return "\n".join(lines) + "\n"


def _wrapped(text: str, prefix: str) -> Iterator[str]:
    import textwrap

    yield from textwrap.wrap(text, 100, initial_indent=prefix, subsequent_indent=prefix, break_on_hyphens=False)


def _sample_option(option: Option[Any], value: str | None = None) -> Iterator[str]:
    yield ""
    yield from _wrapped(meaning_of(option).replace(LITERAL, ""), "# ")
    yield from _wrapped(f"Value: {option.kind.grammar}".replace(LITERAL, ""), "# ")
    if value is not None:
        yield f"{option.name} = {value}"
    else:
        default = default_of(option)
        # What is computed from a server, and percent signs of other kinds, cannot be written into a file like that.
        yield f";{option.name} =" + (f" {default}" if default and "%" not in default else "")


def _sample_server(options: Iterable[Option[Any]]) -> Iterator[str]:
    yield from ("", "", "# A server. Everything that is not set here is taken from [barman], if it may stand there.")
    yield ";[main]"
    yield from (";description = Main database", ";conninfo = host=db1 user=barman dbname=postgres")
    yield from (";streaming_conninfo = host=db1 user=streaming_barman", ";backup_method = postgres")
    yield from (";streaming_archiver = on", ";slot_name = barman", ";create_slot = auto")
    yield from ("", "# More options, of servers alone:")
    for option in options:
        if not option.inheritable:
            yield from _sample_option(option)


def sample() -> str:
    """Return docs/reference/barman.conf.sample: a file that loads as it is."""
    given = {
        "barman_home": "/var/lib/barman",
        "barman_user": "barman",
        "log_file": "/var/log/barman/barman.log",
        "configuration_files_directory": "/etc/barman.d",
    }
    lines = ["# Configuration of barman. Generated by scripts/dev docs; see barman(5).", "", "[barman]"]
    for option in GLOBAL_OPTIONS.values():
        lines += _sample_option(option, given.get(option.name))
    for group, options in groups():
        inheritable = [option for option in options if option.inheritable and option.name not in GLOBAL_OPTIONS]
        if inheritable:
            lines += ["", "", f"# {TITLES[group]}"]
        for option in inheritable:
            lines += _sample_option(option)
    lines += _sample_server(SERVER_OPTIONS.values())
    return "\n".join(lines) + "\n"


PAGES = {"docs": docs, "man": man, "sample": sample}


def main(arguments: list[str]) -> int:
    """Print or check one page and return the exit code."""
    kinds = [argument for argument in arguments if argument != "--check"]
    if len(kinds) != 1 or kinds[0] not in PAGES:
        sys.stderr.write("usage: python -m barman.config.reference docs|man|sample [--check]\n")
        return 2
    page = PAGES[kinds[0]]()
    if "--check" not in arguments:
        sys.stdout.write(page)
        return 0
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    path = os.path.join(root, "docs", FILES[kinds[0]])
    try:
        with open(path, encoding="utf-8") as file:
            current = file.read()
    except FileNotFoundError:
        current = ""
    if current == page:
        return 0
    sys.stderr.write(f"stale: {path} (run scripts/dev docs)\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
