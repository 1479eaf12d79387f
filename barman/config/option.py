"""Option[T], the one declaration of a configuration option, and OptionSet, the classes that hold values of options.

Options are plain descriptors without `__set__`: the value of an instance lives in its `__dict__` and is found there
before the descriptor is asked. So reading `config.archiver` costs an attribute access, declaring 130 options costs
next to no start-up time, and a type checker sees `config.archiver` as a bool and `ServerConfig.archiver` as an Option.
"""

from __future__ import annotations

from barman.config import values
from barman.config.values import Kind
from barman.typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

if TYPE_CHECKING:
    import datetime

T = TypeVar("T")

GSM = "GSM"  # inheritable from [barman], in servers, in models
GS = "GS"
SM = "SM"
S = "S"
M = "M"


class Option(Generic[T]):
    """A declared option: name, kind, default, doc, where it may be written (`scope`), whether it is `secret`.

    A `template` is a default computed from other options of the server, `%(option)s`. `deprecated_by` names what to use
    instead ("" for nothing). `required` is for [barman] alone.
    """

    __slots__ = ("default", "deprecated_by", "doc", "group", "kind", "name", "scope", "secret", "template")

    def __init__(self, kind: Kind[Any], default: T, doc: str, scope: str, *, template: str | None = None) -> None:
        self.name = ""
        self.group = ""
        self.kind = kind
        self.default = default
        self.doc = doc
        self.scope = scope
        self.template = template
        self.secret = False
        self.deprecated_by: str | None = None

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        self.group = owner.__name__

    @overload
    def __get__(self, instance: None, owner: type) -> Option[T]: ...
    @overload
    def __get__(self, instance: OptionSet, owner: type) -> T: ...
    def __get__(self, instance: OptionSet | None, owner: type) -> Option[T] | T:
        if instance is None:
            return self
        raise AttributeError(f"option {self.name!r} of {instance!r} has no value")

    @property
    def inheritable(self) -> bool:
        """Whether a value in [barman] counts for servers that have none."""
        return "G" in self.scope

    def deprecate(self, by: str = "") -> Option[T]:
        """Mark as deprecated, in favour of option `by`; returns the option."""
        self.deprecated_by = by
        return self

    def show(self, value: object) -> object:
        """The form of a value in JSON documents: None, bool, int, str, list or dict."""
        return value if value is None or self.kind.show is None else self.kind.show(value)


class OptionSet:
    """Base of the classes whose attributes are options."""

    @classmethod
    def options(cls) -> dict[str, Option[Any]]:
        """Declared options by name, in order of declaration."""
        found: dict[str, Option[Any]] = {}
        for owner in reversed(cls.__mro__):
            for name, value in vars(owner).items():
                if isinstance(value, Option):
                    found[name] = value
        return found


def boolean(default: bool, doc: str, scope: str = GSM) -> Option[bool]:
    """A switch."""
    return Option(values.BOOLEAN, default, doc, scope)


def count(default: int, doc: str, scope: str = GSM, *, minimum: int | None = 0, unit: str = "") -> Option[int]:
    """A whole number that always has a value."""
    return Option(values.integer_kind(minimum, unit), default, doc, scope)


def optional_count(doc: str, scope: str = GSM, *, minimum: int | None = 0, unit: str = "") -> Option[int | None]:
    """A whole number that may be unset."""
    return Option(values.integer_kind(minimum, unit), None, doc, scope)


def text(doc: str, scope: str = GSM, kind: Kind[str] = values.STRING) -> Option[str | None]:
    """A string, None when unset or empty."""
    return Option(kind, None, doc, scope)


def shell(doc: str, scope: str = GSM) -> Option[str | None]:
    """A shell command."""
    return Option(values.SHELL, None, doc, scope)


def connection(doc: str, scope: str = SM, *, template: str | None = None) -> Option[str | None]:
    """A libpq connection string; secret, because it may hold a password."""
    option: Option[str | None] = Option(values.CONNECTION, None, doc, scope, template=template)
    option.secret = True
    return option


def directory(template: str, doc: str, scope: str = S, kind: Kind[str] = values.PATH) -> Option[str]:
    """A path that always has a value, computed from other options when nobody wrote one."""
    return Option(kind, "", doc, scope, template=template)


def choice(kind: Kind[str], default: str, doc: str, scope: str = GSM) -> Option[str]:
    """One word out of several; always has a value."""
    return Option(kind, default, doc, scope)


def optional_choice(kind: Kind[str], doc: str, scope: str = GSM) -> Option[str | None]:
    """One word out of several, or None."""
    return Option(kind, None, doc, scope)


def size(default: int, doc: str, scope: str = GSM) -> Option[int]:
    """A number of bytes."""
    return Option(values.SIZE, default, doc, scope)


def optional_size(doc: str, scope: str = GSM) -> Option[int | None]:
    """A number of bytes, or None."""
    return Option(values.SIZE, None, doc, scope)


def interval(doc: str, scope: str = GSM) -> Option[datetime.timedelta | None]:
    """A span of time, or None."""
    return Option(values.INTERVAL, None, doc, scope)
