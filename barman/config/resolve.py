"""From the entries of a section to typed values: parse, inherit from [barman], fill in defaults (config.md §3)."""

from __future__ import annotations

from barman.config.problems import LOG, WARNING, Problem
from barman.config.server_config import MODEL_OPTIONS, SERVER_OPTIONS
from barman.config.values import BLOCK, TABLESPACE_LIMITS, UNSET, is_url, tablespace_rules
from barman.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from barman.config.ini import Entry
    from barman.config.option import Option

GLOBAL_SECTION = "barman"
_NOTHING = object()
_DEFAULTS = {name: option.default for name, option in SERVER_OPTIONS.items() if option.template is None}
_TEMPLATES = [(name, option.template) for name, option in SERVER_OPTIONS.items() if option.template is not None]
# Known to the original, settable by nobody.
_IGNORED = frozenset(("disabled",))


class Resolver:
    """Resolves the sections of one configuration; what is wrong with values is added to `problems`."""

    def __init__(self, global_entries: Mapping[str, Entry]) -> None:
        self.problems: list[Problem] = []
        self._inheritable = {
            name: entry
            for name, entry in global_entries.items()
            if name in SERVER_OPTIONS and SERVER_OPTIONS[name].inheritable
        }
        self._inherited: dict[str, Any] = {}

    def server(
        self, section: str, entries: Mapping[str, Entry], facts: Mapping[str, str]
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """Return every option of a server with its value, and the file of those that somebody wrote."""
        values, sources = self._own(section, entries, SERVER_OPTIONS)
        for name, entry in self._inheritable.items():
            if name not in values:
                value = self._inherit(name, entry)
                if value is not _NOTHING:
                    values[name] = value
                    sources[name] = entry.file
        values = {**_DEFAULTS, **values}
        _fill_templates(values, facts)
        return values, sources

    def model(self, section: str, entries: Mapping[str, Entry]) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the options that a model sets, and their files; nothing is inherited, nothing has a default."""
        entries = {name: entry for name, entry in entries.items() if name not in ("model", *_IGNORED)}
        values, sources = self._own(section, entries, MODEL_OPTIONS)
        return {name: value for name, value in values.items() if value is not None}, sources

    def _own(
        self, section: str, entries: Mapping[str, Entry], options: Mapping[str, Option[Any]]
    ) -> tuple[dict[str, Any], dict[str, str]]:
        values: dict[str, Any] = {}
        sources: dict[str, str] = {}
        for name, entry in entries.items():
            option = options.get(name)
            if option is None:
                if name not in _IGNORED:
                    self.unknown_option(section, name, entry)
                continue
            value = self.value(option, section, entry)
            if value is not _NOTHING:
                values[name] = value
                sources[name] = entry.file
        return values, sources

    def _inherit(self, name: str, entry: Entry) -> Any:
        if name not in self._inherited:
            self._inherited[name] = self.value(SERVER_OPTIONS[name], GLOBAL_SECTION, entry)
        return self._inherited[name]

    def unknown_option(self, section: str, name: str, entry: Entry) -> None:
        """Note an option that does not exist."""
        text = f'Invalid configuration option "{name}" in [{section}] section.'
        self.problems.append(Problem(text, section=section, option=name, origin=entry.origin))

    def value(self, option: Option[Any], section: str, entry: Entry) -> Any:
        """The value of an entry; NOTHING (see `is_set`) when it counts as absent."""
        kind, text = option.kind, entry.text
        if text in ("", "None"):
            if kind.empty == BLOCK:
                return kind.empty_value
            if kind.empty == UNSET:
                return _NOTHING
        try:
            if text in ("", "None"):
                raise ValueError("an empty value is not allowed")
            value = kind.parse(text)
        except ValueError as error:
            return self._rejected(option, section, entry, str(error))
        if kind is TABLESPACE_LIMITS:
            for rule in tablespace_rules(text)[1]:
                self._note(option, section, entry, f"Invalid tablespace_bandwidth_limit rule '{rule}'", LOG)
        return value

    def _rejected(self, option: Option[Any], section: str, entry: Entry, reason: str) -> Any:
        if option.kind.fallback is not None and entry.text:
            value = option.kind.fallback(entry.text)
            shown = "" if value == entry.text else f' (fallback to "{value}")'
            text = f'Invalid {option.name} setting "{entry.text}" in [{section}] section{shown}: {reason}'
            self._note(option, section, entry, text, LOG)
            return value
        shown = "*REDACTED*" if option.secret else ("" if entry.text == "None" else entry.text)
        text = f"Ignoring invalid configuration value '{shown}' for key {option.name} in [{section}] section: {reason}"
        self._note(option, section, entry, text, WARNING)
        return _NOTHING

    def _note(self, option: Option[Any], section: str, entry: Entry, text: str, level: str) -> None:
        self.problems.append(Problem(text, section=section, option=option.name, origin=entry.origin, level=level))


def is_set(value: object) -> bool:
    """Whether a value that `Resolver.value` returned counts."""
    return value is not _NOTHING


def _fill_templates(values: dict[str, Any], facts: Mapping[str, str]) -> None:
    names: dict[str, Any] = {**facts, **values}
    for name, usual in _TEMPLATES:
        if name in values:
            continue
        template = usual
        if name == "xlogdb_directory" and is_url(values["wals_directory"]):
            template = "%(backup_directory)s/meta"  # an index cannot live in a bucket
        values[name] = names[name] = expand(template, names)


def expand(template: str, names: Mapping[str, Any]) -> Any:
    """A default computed from other values; one that is a single reference is that value itself, None included."""
    if template.startswith("%(") and template.endswith(")s") and template.count("%") == 1:
        return names[template[2:-2]]
    return template % names
