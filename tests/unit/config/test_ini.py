from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barman.config import ini


def read(text: str) -> ini.IniFile:
    return ini.parse(text.encode(), "f.conf")


def texts(text: str) -> dict[str, dict[str, str]]:
    return {name: {key: entry.text for key, entry in section.items()} for name, section in read(text).sections.items()}


def test_values_know_their_file_and_line() -> None:
    entry = read("# comment\n[pg]\n\nconninfo = host=a\nssh_command: ssh b\n").sections["pg"]["ssh_command"]
    assert (entry.text, entry.origin) == ("ssh b", "f.conf:5")


def test_the_first_of_the_two_delimiters_splits() -> None:
    assert texts("[s]\na = b:c\nd: e=f\n") == {"s": {"a": "b:c", "d": "e=f"}}


def test_option_names_are_lower_cased_and_section_names_are_not() -> None:
    assert texts("[Main DB: 1]\nConnInfo = X\n") == {"Main DB: 1": {"conninfo": "X"}}


def test_comments_take_whole_lines_only() -> None:
    assert texts("[s]\n; x = 1\n# y = 2\nz = a ; b # c\n") == {"s": {"z": "a ; b # c"}}


def test_indented_lines_continue_a_value_across_blank_lines_and_comments() -> None:
    assert texts("[s]\nd = one\n   two\n# not me\n\n   three\nx = 1\n") == {"s": {"d": "one\ntwo\n\nthree", "x": "1"}}


def test_options_may_all_be_indented() -> None:
    assert texts("[s]\n  a = 1\n  b = 2\n") == {"s": {"a": "1", "b": "2"}}


def test_duplicate_sections_and_options_merge_and_the_last_wins() -> None:
    assert texts("[s]\na = 1\nb = 2\na = 3\n[t]\n[s]\nb = 4\n") == {"s": {"a": "3", "b": "4"}, "t": {}}


def test_the_default_section_is_part_of_every_section_of_the_file() -> None:
    assert texts("[DEFAULT]\na = 1\nhost = h\n[s]\na = 2\nb = %(host)s\n[t]\n") == {
        "s": {"a": "2", "host": "h", "b": "h"},
        "t": {"a": "1", "host": "h"},
    }


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('"quoted"', "quoted"),
        ("'quoted'", "quoted"),
        ('"a" and \'b"', "a\" and 'b"),
        ("\"open'", "\"open'"),
        ('"', '"'),
        ('""', ""),
        ("''x''", "'x'"),
    ],
)
def test_one_enclosing_pair_of_quotes_is_taken_off(value: str, expected: str) -> None:
    assert texts(f"[s]\na = {value}\n") == {"s": {"a": expected}}


@pytest.mark.parametrize(
    ("value", "expected"),
    [("50%%", "50%"), ("50%%%%", "50%"), ("%%%%(x)s", "%(x)s"), ("%%(x)s", "%(x)s"), ("%(b)s-%(C)s", "B-B!")],
)
def test_percent_signs_interpolate_or_are_doubled_once_or_twice(value: str, expected: str) -> None:
    assert texts(f"[s]\na = {value}\nb = B\nc = %(b)s!\n")["s"]["a"] == expected


@pytest.mark.parametrize("value", ["%(unknown)s", "50%", "%x", "%(a", "%(a)s"])
def test_a_bad_reference_is_a_flaw_of_its_section_at_its_line(value: str) -> None:
    file = read(f"[s]\nok = 1\na = {value}\n[t]\nb = 2\n")
    assert [(flaw.section, flaw.line) for flaw in file.flaws] == [("s", 3)]
    assert set(file.sections["s"]) == {"ok"}
    assert file.sections["t"]["b"].text == "2"


def test_a_reference_does_not_leave_the_file() -> None:
    assert read("[s]\na = %(name)s\n").flaws[0].message.startswith("option 'a': '%(name)s' refers to an option")


@pytest.mark.parametrize(
    ("text", "section", "line"),
    [("junk\n[s]\n", "", 1), ("[s]\na = 1\nno delimiter\n", "s", 3), ("[s]\n= x\n", "s", 2), ("[DEFAULT]\nx\n", "", 2)],
)
def test_a_line_without_sense_is_a_flaw_and_the_rest_is_read(text: str, section: str, line: int) -> None:
    file = read(text + "[last]\nz = 1\n")
    assert [(flaw.section, flaw.line) for flaw in file.flaws] == [(section, line)]
    assert file.sections["last"]["z"].text == "1"


def test_a_flaw_never_shows_a_password() -> None:
    assert "geheim" not in read("conninfo = postgresql://u:geheim@h/db\n[s]\n").flaws[0].message


def test_bytes_that_are_not_utf8_are_a_flaw_except_in_comments() -> None:
    file = ini.parse(b"# \xff\n[a]\nd = caf\xe9\n[b]\nd = caf\xc3\xa9\n", "f")
    assert [(flaw.section, flaw.line) for flaw in file.flaws] == [("a", 3)]
    assert file.sections["b"]["d"].text == "café"


def test_byte_order_mark_and_carriage_returns_are_tolerated() -> None:
    file = ini.parse(b"\xef\xbb\xbf[s]\r\na = 1\r\n", "f")
    assert file.sections["s"]["a"].text == "1"
    assert not file.flaws


@given(st.binary(max_size=200))
def test_no_bytes_ever_raise(data: bytes) -> None:
    ini.parse(data, "f")


@given(st.text(alphabet="[]=:#; \n\t%()sab\"'\\", max_size=80))
def test_no_text_ever_raises(text: str) -> None:
    for section in read("[s]\n" + text).sections.values():
        for entry in section.values():
            assert entry.line >= 1


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), st.text("AZaz09/=:@. -")))
def test_plain_values_are_read_as_written(options: dict[str, str]) -> None:
    values = {name: value.strip() for name, value in options.items()}
    written = "".join(f"{name} = {value}\n" for name, value in values.items())
    assert texts("[s]\n" + written)["s"] == values
