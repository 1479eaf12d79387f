"""The names of `typing` without its start-up time: they mean something to type checkers alone (ADR 22)."""

TYPE_CHECKING = False

__all__ = [
    "IO",
    "TYPE_CHECKING",
    "Any",
    "BinaryIO",
    "Final",
    "Generic",
    "NewType",
    "NoReturn",
    "Protocol",
    "TextIO",
    "TypeVar",
    "cast",
    "overload",
]

if TYPE_CHECKING:
    from typing import (
        IO,
        Any,
        BinaryIO,
        Final,
        Generic,
        NewType,
        NoReturn,
        Protocol,
        TextIO,
        TypeVar,
        cast,
        overload,
    )
else:

    class Generic:
        """A base class, or a type with parameters, that leaves no trace."""

        __slots__ = ()

        def __class_getitem__(cls, parameters):
            return cls

    Any = BinaryIO = Final = IO = NoReturn = Protocol = TextIO = Generic

    def TypeVar(name, *constraints, **options):  # noqa: D103  it is what typing has under this name
        return Generic

    def NewType(name, kind):  # noqa: D103  as above
        return kind

    def cast(kind, value):  # noqa: D103  as above
        return value

    def overload(function):  # noqa: D103  as above
        return function
