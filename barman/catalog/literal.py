"""Python literals as values of a record: read within bounds. Pure.

`ast.literal_eval` never runs code, but it can exhaust the stack or the memory of the interpreter on a hostile text.
So a text is first split into tokens: nothing passes but strings, numbers, names of constants and brackets, few levels
deep.
"""

import ast
import re
from typing import Final

MAX_SIZE: Final = 1024 * 1024
MAX_DEPTH: Final = 16

_TOKEN = re.compile(
    r"""\s+
    | '(?:[^'\\\n]|\\.)*'
    | "(?:[^"\\\n]|\\.)*"
    | [-+]?\d{1,64}(?:\.\d{0,64})?(?:[eE][-+]?\d{1,4})?(?=\s*(?:[,:\])}]|\Z))
    | (?:None|True|False)\b
    | [,:]
    | (?P<open>[\[({])
    | (?P<close>[\])}])
    """,
    re.VERBOSE | re.ASCII,
)


def parse_literal(text: str) -> object:
    """The value that the text denotes: strings, numbers, None, True, False, and tuples, lists and dictionaries of
    these.

    Raises ValueError for anything else and for what is larger or deeper than any record.
    """
    if len(text) > MAX_SIZE:
        raise ValueError(f"a value of {len(text)} characters")
    _check_tokens(text)
    try:
        value: object = ast.literal_eval(text)
    except (SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError(f"not a literal: {_shorten(text)}") from error
    return value


def _check_tokens(text: str) -> None:
    position = depth = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            raise ValueError(f"not a literal: {_shorten(text)}")
        if token.lastgroup == "open":
            depth += 1
        elif token.lastgroup == "close":
            depth -= 1
        if depth > MAX_DEPTH:
            raise ValueError("nested too deeply")
        position = token.end()


def _shorten(text: str) -> str:
    return text if len(text) <= 60 else text[:60] + "..."
