from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barman import units


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (23219973, "22.1 MiB"),
        (-2048, "-2.0 KiB"),
        (16777216, "16.0 MiB"),
    ],
)
def test_sizes_read_as_the_reference_shows_them(size, text):
    assert units.format_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "less than one second"),
        (1, "1 second"),
        (116, "1 minute, 56 seconds"),
        (90061, "1 day, 1 hour, 1 minute, 1 second"),
        (-3600, "1 hour ago"),
        (172800, "2 days"),
    ],
)
def test_ages_show_their_parts_that_are_not_zero(seconds, text):
    assert units.format_age(seconds) == text


@pytest.mark.parametrize(
    ("text", "size"), [("12", 12), ("1k", 1000), ("1 Ki", 1024), ("30Gi", 30 << 30), ("2 M", 2000000)]
)
def test_sizes_are_parsed_with_decimal_and_binary_suffixes(text, size):
    assert units.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "k", "1.5 G", "1 KB", "-1", "1 ki", "١٢x"])
def test_bad_sizes_are_refused(text):
    with pytest.raises(ValueError, match="invalid size"):
        units.parse_size(text)


def test_a_month_has_31_days():
    assert units.parse_interval("2 MONTHS") == timedelta(days=62)


@given(st.text())
def test_no_text_makes_the_interval_parser_fail_in_another_way(text):
    try:
        units.parse_interval(text)
    except ValueError:
        pass
