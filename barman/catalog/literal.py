"""Python literals as values of a record: read within bounds, without running anything. Pure.

`ast.literal_eval` would do, but a hostile text can exhaust the stack or the memory of the interpreter, and the module
costs a short command more than all records of a server.
"""

from __future__ import annotations

import re

from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barman.typing import Any, Final

MAX_SIZE: Final = 1024 * 1024
MAX_DEPTH: Final = 16

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>'(?:[^'\\\n\r\0]|\\.)*'|"(?:[^"\\\n\r\0]|\\.)*")
    | (?P<integer>[-+]?(?:0+|[1-9]\d{0,63}))(?=\s*(?:[,:\])}]|\Z))
    | (?P<float>[-+]?\d{1,64}(?:\.\d{0,64}(?:[eE][-+]?\d{1,4})?|[eE][-+]?\d{1,4}))(?=\s*(?:[,:\])}]|\Z))
    | (?P<constant>None|True|False)\b
    | (?P<mark>[\[\](){},:])
    )""",
    re.VERBOSE | re.ASCII,
)
_CONSTANTS: Final = {"None": None, "True": True, "False": False}
_CLOSING: Final = {"[": "]", "(": ")", "{": "}"}


def parse_literal(text: str) -> object:
    """The value that the text denotes: strings, numbers, None, True, False, and tuples, lists and dictionaries of
    these.

    Raises ValueError for anything else and for what is larger or deeper than any record.
    """
    if len(text) > MAX_SIZE:
        raise ValueError(f"a value of {len(text)} characters")
    reader = _Reader(text)
    value = reader.value(0)
    reader.end()
    return value


class _Reader:
    """Descends into brackets, at most MAX_DEPTH of them."""

    def __init__(self, text: str) -> None:
        self._text = text.rstrip()
        self._position = 0

    def value(self, depth: int) -> object:
        kind, token = self._next()
        if kind == "string":
            return token[1:-1] if "\\" not in token else _unescaped(token)
        if kind == "integer":
            return int(token)
        if kind == "float":
            return float(token)
        if kind == "constant":
            return _CONSTANTS[token]
        if token not in _CLOSING:
            raise self._error()
        if depth == MAX_DEPTH:
            raise ValueError("nested too deeply")
        return self._dictionary(depth + 1) if token == "{" else self._sequence(token, depth + 1)

    def end(self) -> None:
        if self._position != len(self._text):
            raise self._error()

    def _sequence(self, opening: str, depth: int) -> object:
        closing, comma = _CLOSING[opening], False
        items: list[object] = []
        while not self._take(closing):
            if items and not comma:
                raise self._error()
            items.append(self.value(depth))
            comma = self._take(",")
        if opening == "[":
            return items
        return tuple(items) if comma or len(items) != 1 else items[0]

    def _dictionary(self, depth: int) -> dict[Any, object]:
        found: dict[Any, object] = {}
        comma = True
        while not self._take("}"):
            key = self.value(depth)
            if not comma or not self._take(":"):
                raise self._error()
            value = self.value(depth)
            try:
                found[key] = value
            except TypeError as error:
                raise self._error() from error
            comma = self._take(",")
        return found

    def _next(self) -> tuple[str, str]:
        match = _TOKEN.match(self._text, self._position)
        if match is None or match.lastgroup is None:
            raise self._error()
        self._position = match.end()
        return match.lastgroup, match[match.lastgroup]

    def _take(self, mark: str) -> bool:
        """Whether the next token is that mark, which is read then."""
        match = _TOKEN.match(self._text, self._position)
        if match is None or match["mark"] != mark:
            return False
        self._position = match.end()
        return True

    def _error(self) -> ValueError:
        text = self._text
        return ValueError(f"not a literal: {text if len(text) <= 60 else text[:60] + '...'}")


def _unescaped(token: str) -> str:
    import ast

    try:
        return str(ast.literal_eval(token))
    except (SyntaxError, MemoryError) as error:
        raise ValueError(f"not a string: {token[:60]}") from error
