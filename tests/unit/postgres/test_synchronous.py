"""`synchronous_standby_names` as PostgreSQL reads it."""

from __future__ import annotations

import pytest

from barman.postgres.synchronous import is_synchronous_name, parse_standby_names


@pytest.mark.parametrize(
    ("setting", "names"),
    [
        ("", ()),
        ("*", ("*",)),
        ("a", ("a",)),
        ("a, b ,c", ("a", "b", "c")),
        ("2 (a, b)", ("a", "b")),
        ("FIRST 2 (a, b)", ("a", "b")),
        ("any 1 (*)", ("*",)),
        ('ANY 1("B c", d)', ("B c", "d")),
        ('"odd, ""name"" (1)", b', ('odd, "name" (1)', "b")),
        ('FIRST 1 ("FIRST", any)', ("FIRST", "any")),
        ("first", ("first",)),
    ],
)
def test_names_are_read_with_the_grammar_of_the_server(setting: str, names: tuple[str, ...]) -> None:
    assert parse_standby_names(setting) == names


def test_a_name_counts_without_regard_to_case_and_never_by_a_part() -> None:
    assert is_synchronous_name("barman_receive_wal", "FIRST 1 (Barman_Receive_WAL)")
    assert is_synchronous_name("anything", "ANY 1 (*)")
    assert not is_synchronous_name("barman", "barman_receive_wal")
    assert not is_synchronous_name("barman", "")
