"""What `config-update` is asked for: JSON in, change sets out, every object judged before anything is queued."""

from __future__ import annotations

from barman.config import values
from barman.config.ini import unquote
from barman.config.queue import Change, ChangeSet
from barman.config.server_config import MODEL_OPTIONS, SERVER_OPTIONS
from barman.errors import ConfigError
from barman.logs import redact
from barman.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from barman.config.loader import Settings
    from barman.config.option import Option

SERVER = "server"
MODEL = "model"
_NAME_KEYS = {SERVER: "server_name", MODEL: "model_name"}
_SPECIAL_SECTIONS = ("all", "barman", "DEFAULT", ".", "..")
_NOT_IN_NAMES = "[]/"
_HIDDEN = "*REDACTED*"


class RefusedChange(ConfigError):
    """An object of the request that cannot be applied; `item` is the object."""

    def __init__(self, message: str, item: object) -> None:
        super().__init__(message)
        self.item = item


def parse_json(text: str) -> list[Any]:
    """The objects of the request. Raises ConfigError when the text is no JSON list."""
    import json

    try:
        document = json.loads(text, object_pairs_hook=_without_duplicates)
    except RecursionError:
        raise ConfigError("the configuration changes are nested too deeply to be JSON of this command") from None
    except ValueError as error:
        raise ConfigError(
            f"the configuration changes are not valid JSON: {error}",
            hint='Give a list of objects, [{"scope": "server", "server_name": "NAME", "OPTION": "VALUE"}].',
        ) from None
    if not isinstance(document, list):
        raise ConfigError("the configuration changes are not a JSON list of objects")
    return document


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return found


def read_request(items: list[Any], settings: Settings) -> list[ChangeSet]:
    """Judge every object; targets are not known yet. Raises RefusedChange for the first bad one."""
    kinds = {**dict.fromkeys(settings.servers, SERVER), **dict.fromkeys(settings.models, MODEL)}
    return [_read_object(item, kinds) for item in items]


def _read_object(item: Any, kinds: dict[str, str]) -> ChangeSet:
    if not isinstance(item, dict):
        raise _invalid("it is not a JSON object.", item)
    scope = item.get("scope")
    if scope not in (SERVER, MODEL):
        shown = scope if scope is None or isinstance(scope, str) else _shown(scope)
        raise _invalid(f"'scope' is invalid: '{shown}'. It should be either 'server' or 'model'.", item)
    name_key = _NAME_KEYS[scope]
    if name_key not in item:
        raise _invalid(f"'{name_key}' is missing.", item)
    name = item[name_key]
    reason = _bad_name(name)
    if reason:
        raise _invalid(f"'{name_key}' is invalid: {reason}.", item)
    written = {key: value for key, value in item.items() if key not in ("scope", name_key)}
    known = kinds.get(name)
    if known is not None and known != scope:
        raise _invalid(f"'{name}' is a {known}, not a {scope}.", item)
    if known is None and scope == MODEL:
        if "cluster" not in written:
            raise _invalid("new model but 'cluster' is missing.", item)
        written.setdefault("model", "on")
    for key, value in written.items():
        _judge_option(scope, name, key, value, item)
    kinds[name] = scope
    return ChangeSet(name, tuple(Change(key, str(value).strip(), "") for key, value in written.items()))


def _invalid(reason: str, item: object) -> RefusedChange:
    return RefusedChange(f"Invalid section {shown_object(item)}: {reason}", item)


def _bad_name(name: object) -> str:
    if not isinstance(name, str):
        return "it must be a text"
    if not name or name != name.strip():
        return "it must not be empty, nor begin or end with a blank"
    if name in _SPECIAL_SECTIONS:
        return f"'{name}' is reserved"
    if has_control_characters(name) or any(letter in name for letter in _NOT_IN_NAMES):
        return f"{name!r} cannot be the name of a section and of a directory"
    return ""


def _judge_option(scope: str, name: str, key: str, value: object, item: object) -> None:
    options: Mapping[str, Option[Any]] = SERVER_OPTIONS if scope == SERVER else MODEL_OPTIONS
    option = options.get(key)
    if option is None and not (scope == MODEL and key == "model"):
        raise RefusedChange(f"Invalid option {key!r} for {scope} '{name}'", item)
    try:
        check_value(option, value)
    except ValueError as error:
        raise RefusedChange(f"Validation failed for {scope} '{name}': key '{key}' -> {error}", item) from None


def check_value(option: Option[Any] | None, value: object) -> None:
    """Raise ValueError unless a text can stand as the value of an option in a file; None is the mark of models."""
    if not isinstance(value, str):
        raise ValueError(f'it must be a text, such as "on" or "10", not {_kind_of(value)}')
    if has_control_characters(value):
        raise ValueError("it must be one line without control characters")
    text = unquote(value.strip())
    if option is None:
        if not values.parse_boolean(text):
            raise ValueError("a model cannot be made a server")
    elif text in ("", "None"):
        if option.kind.empty == values.REJECT:
            raise ValueError("an empty value is not allowed")
    elif "%" not in text:  # else the reader of the file judges it, who knows what it stands for
        option.kind.parse(text)


def has_control_characters(text: str) -> bool:
    """Whether a text could end a line for any reader of the file, or cannot be written at all."""
    import unicodedata

    return any(letter != "\t" and unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in text)


def _kind_of(value: object) -> str:
    kinds = {dict: "an object", list: "a list", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")


def shown_value(key: str, value: str) -> str:
    """A value as messages may show it."""
    option = SERVER_OPTIONS.get(key)
    if option is not None and option.secret and option.kind is not values.CONNECTION:
        return _HIDDEN
    return redact(value)


def shown_object(item: object) -> str:
    """An object of the request as messages may show it."""
    if not isinstance(item, dict):
        return _shown(item)
    inner = ", ".join(f"{key!r}: {_shown(value, key)}" for key, value in item.items())
    return f"{{{inner}}}"


def _shown(value: object, key: str = "") -> str:
    if isinstance(value, str):
        return repr(shown_value(key, value))
    return f"<{_kind_of(value)}>" if isinstance(value, dict | list) else str(value)
