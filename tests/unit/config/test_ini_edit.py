"""One option is set and nothing else: for our reader, and for the ConfigParser of Python, which the original uses."""

from __future__ import annotations

import configparser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barman.config.ini_edit import set_option

FILE = """\
# Servers of the house
[a]
conninfo = host=a
; archiver = off
archiver: on

# The second one, glued to the first by tools that are less careful
[b]
Archiver = off
  and more
# in between
  and most
description = B"""


def oracle(text: str) -> dict[str, dict[str, str | None]]:
    parser = configparser.ConfigParser(strict=False, interpolation=None, default_section="DEFAULT OF NOBODY")
    parser.read_string(text)
    return {name: dict(parser[name]) for name in parser.sections()}


def test_a_value_is_replaced_where_it_stands() -> None:
    edited = set_option(FILE, "a", "archiver", "off")
    assert edited.old == "on"
    assert edited.text == FILE.replace("archiver: on", "archiver = off")


def test_a_value_of_several_lines_becomes_one_and_its_comments_stay() -> None:
    edited = set_option(FILE, "b", "archiver", "on")
    assert edited.old == "off\nand more\nand most"
    assert edited.text == FILE.replace(
        "Archiver = off\n  and more\n# in between\n  and most", "archiver = on\n# in between"
    )


def test_a_new_option_comes_behind_the_last_one_of_its_section() -> None:
    edited = set_option(FILE, "a", "slot_name", "s")
    assert edited.old is None
    assert edited.text == FILE.replace("archiver: on\n", "archiver: on\nslot_name = s\n")


def test_a_last_line_without_an_end_gets_one() -> None:
    assert set_option(FILE, "b", "slot_name", "s").text == FILE + "\nslot_name = s\n"


def test_a_new_section_comes_last() -> None:
    assert set_option(FILE, "c", "active", "no").text == FILE + "\n\n[c]\nactive = no\n"
    assert set_option("", "c", "active", "no").text == "[c]\nactive = no\n"


def test_a_section_without_options_is_filled() -> None:
    assert set_option("[a]\n[b]\nx = 1\n", "a", "y", "2").text == "[a]\ny = 2\n[b]\nx = 1\n"


def test_the_line_that_counts_is_changed_when_an_option_stands_twice() -> None:
    text = "[a]\nx = 1\n[b]\ny = 1\n[a]\nx = 2\n"
    assert set_option(text, "a", "x", "3").text == text.replace("x = 2", "x = 3")


def test_lines_end_as_they_did() -> None:
    assert set_option("\ufeff[a]\r\nx = 1\r\n", "a", "y", "2").text == "\ufeff[a]\r\nx = 1\r\ny = 2\r\n"


def test_a_default_of_the_file_is_overridden_in_the_section() -> None:
    assert set_option("[DEFAULT]\nx = 1\n[a]\n", "a", "x", "2").text == "[DEFAULT]\nx = 1\n[a]\nx = 2\n"


@pytest.mark.parametrize(
    ("section", "option", "value"),
    [
        ("a", "x", "1\n[b]\ny = 2"),
        ("a", "x", "1\n  more"),
        ("a]\n[b", "x", "1"),
        ("a", "x = 1\ny", "2"),
        ("a", "# x", "1"),
        ("a", "x:y", "1"),
        ("", "x", "1"),
    ],
)
def test_what_would_mean_something_else_is_refused(section: str, option: str, value: str) -> None:
    with pytest.raises(ValueError, match="cannot be written"):
        set_option("[a]\nz = 0\n", section, option, value)


def test_a_section_with_an_indented_neighbour_is_refused_rather_than_swallow_it() -> None:
    with pytest.raises(ValueError, match="cannot be written"):
        set_option("[a]\n   [b]\nx = 1\n", "a", "y", "2")


NAMES = st.sampled_from(["a", "b", "Main DB: 1"])
OPTIONS = st.sampled_from(["x", "y", "conninfo"])
VALUES = st.text(st.sampled_from("ab =:;#[]%'\""), max_size=8).map(str.strip)
LINES = st.one_of(
    NAMES.map(lambda name: f"[{name}]"),
    st.tuples(OPTIONS, st.sampled_from([" = ", ":", "="]), VALUES).map("".join),
    st.tuples(st.sampled_from(["  ", "\t"]), OPTIONS, st.just(" = 1")).map("".join),
    st.sampled_from(["", "# comment", "  ; comment", "   more"]),
)


@given(lines=st.lists(LINES, max_size=12), section=NAMES, option=OPTIONS, value=VALUES, end=st.sampled_from(["\n", ""]))
def test_any_file_gains_the_one_value_and_keeps_all_others(
    lines: list[str], section: str, option: str, value: str, end: str
) -> None:
    text = "\n".join(["[first]", *lines]) + end
    try:
        before = oracle(text)
    except configparser.Error:
        return
    try:
        edited = set_option(text, section, option, value)
    except ValueError:
        return
    after = oracle(edited.text)
    before.setdefault(section, {})[option] = value
    assert after == before
    comments = [line for line in text.split("\n") if line.strip().startswith(("#", ";"))]
    assert [line for line in edited.text.split("\n") if line.strip().startswith(("#", ";"))] == comments
