"""Change the configuration files: `config-update`, and the part of cron that finishes what a crash left in the queue.

Every change is first made in memory and the whole configuration loaded with it: what would stop a command, make two
servers share a directory, or be read as anything else than what was asked for is refused, and nothing was touched.
Then the changes are queued, durably, and applied one section after the other.
"""

from __future__ import annotations

import os

from barman.catalog.locks import config_update_lock
from barman.clock import Deadline
from barman.config.change_request import (
    RefusedChange,
    check_value,
    has_control_characters,
    parse_json,
    read_request,
    shown_object,
    shown_value,
)
from barman.config.ini_edit import set_option
from barman.config.loader import AUTO_FILE, load_settings
from barman.config.problems import WARNING
from barman.config.queue import Change, ChangeSet, DamagedQueue, is_pending, mode_of, read_queue, set_aside, write_queue
from barman.config.resolve import GLOBAL_SECTION
from barman.config.server_config import SERVER_OPTIONS
from barman.errors import ConfigError, LockBusy
from barman.fs import durable
from barman.typing import TYPE_CHECKING
from barman.values import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from barman.config.loader import Settings
    from barman.report import Reporter

_WAIT_SECONDS = 10.0
"""How long to wait for another one who changes the configuration; that takes milliseconds."""


@dataclass(frozen=True, slots=True)
class _Step:
    section: str
    change: Change
    old: str | None

    def describe(self) -> str:
        key = self.change.key
        old = None if self.old is None else shown_value(key, self.old)
        return (
            f"Changing value of option '{key}' for section '{self.section}' from '{old}' "
            f"to '{shown_value(key, self.change.value)}' through config-update."
        )


@dataclass(frozen=True, slots=True)
class _Plan:
    """The new text of every file that changes, what changes, and the configuration that will be."""

    texts: dict[str, str]
    steps: tuple[_Step, ...]
    settings: Settings


class ConfigUpdater:
    """Changes the files of one configuration. `settings` is always the configuration as it is on disk now."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self.settings = settings
        self._environ = environ
        self._queue = settings.barman.config_changes_queue

    def update(self, text: str, reporter: Reporter) -> tuple[str, ...]:
        """Apply a request, after what still waits in the queue; return the sections that changed.

        A request that is refused is reported, and changes nothing. Raises ConfigError, and LockBusy when somebody
        else changes the configuration all the time.
        """
        items = parse_json(text)
        directory = self.settings.barman.barman_lock_directory
        with config_update_lock(directory, wait=True, deadline=Deadline(_WAIT_SECONDS)):
            self.settings = self._load({})
            waiting = self._waiting(reporter)
            try:
                requested = self._judge(items, waiting)
            except RefusedChange as error:
                reporter.error(error.message)
                reporter.error(f"Aborting config\u2010update: invalid section {shown_object(error.item)}")
                return ()
            queued = [*waiting, *requested]
            if not queued:
                return ()
            write_queue(self._queue, queued)
            return self._process(queued, reporter)

    def finish(self, reporter: Reporter) -> tuple[str, ...]:
        """Apply what waits in the queue, for cron; return the sections that changed."""
        if not is_pending(self._queue):
            return ()
        try:
            with config_update_lock(self.settings.barman.barman_lock_directory):
                self.settings = self._load({})
                return self._process(self._waiting(reporter), reporter)
        except LockBusy:
            reporter.warning("another process is changing the configuration: the queue of changes is left to it")
            return ()

    # --- judging

    def _judge(self, items: list[object], waiting: Sequence[ChangeSet]) -> list[ChangeSet]:
        """The change sets of a request, with their files. Raises RefusedChange."""
        settings = self.settings
        texts: dict[str, str] = {}
        try:
            for one in waiting:
                plan = self._plan(one, settings, texts)
                settings, texts = plan.settings, plan.texts
        except ConfigError:
            settings, texts = self.settings, {}  # what waits cannot be applied: the request is judged without it
        judged = []
        for item, one in zip(items, read_request(items, settings), strict=True):
            try:
                plan = self._plan(one, settings, texts)
            except ConfigError as error:
                raise RefusedChange(error.message, item) from None
            settings, texts = plan.settings, plan.texts
            judged.append(replace(one, changes=tuple(step.change for step in plan.steps)))
        return judged

    def _plan(self, one: ChangeSet, settings: Settings, texts: Mapping[str, str]) -> _Plan:
        """Make the changes of one section in memory, upon `texts`. Raises ConfigError if that is no good."""
        changed = dict(texts)
        steps = []
        _require_section(one)
        for change in one.changes:
            _require_change(one.section, change)
            path = self._target(settings, one.section, change.key)
            try:
                edited = set_option(_text_of(path, changed), one.section, change.key, change.value)
            except ValueError as error:
                raise ConfigError(f"{error} in file '{path}'") from None
            changed[path] = edited.text
            steps.append(_Step(one.section, replace(change, value=change.value.strip(), config_file=path), edited.old))
        after = self._load(changed)
        _require_effect(steps, settings, after)
        return _Plan(changed, tuple(steps), after)

    def _target(self, settings: Settings, section: str, key: str) -> str:
        """The file whose value counts now, [barman] included, if we may replace it; else the file that wins."""
        entry = settings.sections.get(section, {}).get(key)
        option = SERVER_OPTIONS.get(key)
        if entry is None and section in settings.servers and option is not None and option.inheritable:
            entry = settings.sections.get(GLOBAL_SECTION, {}).get(key)
        if entry is not None and _is_ours(entry.file):
            return entry.file
        return os.path.join(settings.barman.barman_home, AUTO_FILE)

    def _load(self, texts: Mapping[str, str]) -> Settings:
        return load_settings(
            self.settings.main_file, self._environ, {path: _bytes(text) for path, text in texts.items()}
        )

    # --- applying

    def _waiting(self, reporter: Reporter) -> list[ChangeSet]:
        try:
            return read_queue(self._queue)
        except DamagedQueue as error:
            kept = set_aside(self._queue)
            reporter.warning(f"{error.message}; it counts as empty, and was renamed to '{kept}'")
            return []

    def _process(self, queued: Sequence[ChangeSet], reporter: Reporter) -> tuple[str, ...]:
        done: list[str] = []
        for number, one in enumerate(queued):
            try:
                self._apply(one, reporter)
                done.append(one.section)
                write_queue(self._queue, queued[number + 1 :])
            except (ConfigError, OSError) as error:
                reason = error.message if isinstance(error, ConfigError) else _describe(error)
                reporter.error(f"cannot change section '{one.section}': {reason}")
                reporter.error("Unable to process a set of changes. Exiting.")
                break
        return tuple(dict.fromkeys(done))

    def _apply(self, one: ChangeSet, reporter: Reporter) -> None:
        plan = self._plan(one, self.settings, {})
        for path, text in plan.texts.items():
            durable.write_atomic(os.path.realpath(path), _bytes(text), mode_of(path))
        for step in plan.steps:
            reporter.info(step.describe())
        _warn_of_disabled(one.section, self.settings, plan.settings, reporter)
        self.settings = plan.settings


def servers_concerned(sections: Sequence[str], settings: Settings) -> list[str]:
    """The servers among changed sections, and those whose active model is."""
    return [
        name for name, config in settings.servers.items() if name in sections or (config.active_model or "") in sections
    ]


def _require_section(one: ChangeSet) -> None:
    if not one.section or has_control_characters(one.section):
        raise ConfigError(f"{one.section!r} is not the name of a section")


def _require_change(section: str, change: Change) -> None:
    """What comes out of the queue is judged again: the file may be the work of another program."""
    if section == GLOBAL_SECTION or (change.key not in SERVER_OPTIONS and change.key != "model"):
        raise ConfigError(f"Invalid option {change.key!r} for section '{section}'")
    try:
        check_value(SERVER_OPTIONS.get(change.key), change.value)
    except ValueError as error:
        raise ConfigError(f"Validation failed for section '{section}': key '{change.key}' -> {error}") from None


def _require_effect(steps: Sequence[_Step], before: Settings, after: Settings) -> None:
    """Refuse what would break something else, or would not be read as it was meant."""
    for message in after.global_errors:
        if message not in before.global_errors:
            raise ConfigError(message)
    for step in steps:
        section, change = step.section, step.change
        reason = _new_problem(section, change.key, before, after)
        entry = after.sections.get(section, {}).get(change.key)
        if not reason and (entry is None or entry.raw != change.value or entry.file != change.config_file):
            reason = "it would not be read as it was written"
        if not reason and section in before.models and section not in after.models:
            reason = "a model cannot be made a server"
        if not reason and section in before.servers and section not in after.servers:
            reason = "a server cannot be made a model"
        if reason:
            raise ConfigError(f"Validation failed for section '{section}': key '{change.key}' -> {reason}")


def _new_problem(section: str, key: str, before: Settings, after: Settings) -> str:
    known = {problem.text for problem in before.problems}
    for problem in after.problems:
        concerned = problem.section == section and (problem.option == key or problem.disables_server)
        if concerned and problem.level == WARNING and problem.text not in known:
            return problem.text
    return ""


def _warn_of_disabled(section: str, before: Settings, after: Settings, reporter: Reporter) -> None:
    config, previous = after.servers.get(section), before.servers.get(section)
    if config is not None and config.disabled and not (previous is not None and previous.disabled):
        reporter.warning(f"server '{section}' is disabled with these changes: {config.msg_list[0]}")


def _is_ours(path: str) -> bool:
    """Whether we may replace the file by another one of the same owner."""
    real = os.path.realpath(path)
    try:
        owner = os.stat(real).st_uid
    except OSError:
        return False
    return owner == os.geteuid() and os.access(real, os.W_OK) and os.access(os.path.dirname(real), os.W_OK)


def _text_of(path: str, texts: Mapping[str, str]) -> str:
    if path in texts:
        return texts[path]
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ConfigError(f"cannot read configuration file '{path}': {error.strerror}") from error


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _describe(error: OSError) -> str:
    return f"the operating system refused an operation on '{error.filename}': {error.strerror or error}"
