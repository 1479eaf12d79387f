"""Literals of a record: what passes, and what cannot harm."""

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barman.catalog.literal import MAX_DEPTH, MAX_SIZE, parse_literal

SCALARS = st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    SCALARS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4) | st.tuples(inner, inner),
    max_leaves=12,
)


@given(VALUES)
def test_every_representation_of_a_value_gives_the_value_back(value):
    assert parse_literal(repr(value)) == value


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "f'{1}'",
        "b'x'",
        "[x for x in (1,)]",
        "{1, 2} | {3}",
        "1 + 1",
        "1 if True else 2",
        "lambda: 0",
        "'unfinished",
        "'two\nlines'",
        "Nonesense",
        "(1",
        "",
        "inf",
        "{'a': 1, 'b'}",
        "{[]: 1}",
        "{1: 2 3: 4}",
        "[1 2]",
        "[,]",
        "{,}",
        "(1,,)",
        "007",
        "(1) 2",
        "'\\x4'",
        "'a\rb'",
    ],
)
def test_what_is_no_literal_is_refused(text):
    with pytest.raises(ValueError, match="."):
        parse_literal(text)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        "-" * 100_000 + "1",
        "1" + "+1" * 100_000,
        "'" + "a" * MAX_SIZE + "'",
        "9" * 100_000,
        "1" + ".a" * 100_000,
        "(" * (MAX_DEPTH + 1) + ")" * (MAX_DEPTH + 1),
    ],
)
def test_a_hostile_text_is_refused_quickly(text):
    with pytest.raises(ValueError, match="."):
        parse_literal(text)


@given(st.text(alphabet="[](){}'\"\\,: 01eE.+-NoneTrue#\n", max_size=60))
def test_whatever_passes_is_what_python_reads(text):
    try:
        value = parse_literal(text)
    except ValueError:
        return
    assert repr(value) == repr(ast.literal_eval(text.strip()))
