import subprocess
import sys
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barman.timestamps import format_ctime, format_timestamp, has_zone, parse_timestamp

ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(min_value=datetime(1000, 1, 1), timezones=ZONES))
def test_what_is_written_is_read_back(moment):
    assert parse_timestamp(format_timestamp(moment)) == moment


@pytest.mark.parametrize("text", ["2026-11-22 05:10:37+00", "2026-11-22T05:10:37Z", "2026-11-22 06:10:37.000+0100"])
def test_the_forms_of_postgresql_and_iso_are_understood(text):
    assert parse_timestamp(text) == datetime(2026, 11, 22, 5, 10, 37, tzinfo=timezone.utc)


def test_text_without_a_zone_is_local():
    assert parse_timestamp("2026-11-22 05:10:37") == datetime(2026, 11, 22, 5, 10, 37).astimezone()
    assert not has_zone("2026-11-22 05:10:37")
    assert has_zone("2026-11-22 05:10:37+02")


def test_free_text_is_understood_through_dateutil():
    assert parse_timestamp("22 Nov 2026 05:10 UTC") == datetime(2026, 11, 22, 5, 10, tzinfo=timezone.utc)


@given(st.text(max_size=30))
def test_nonsense_is_a_value_error(text):
    try:
        parse_timestamp(text)
    except ValueError:
        pass


def test_common_forms_do_not_import_dateutil():
    code = (
        "import sys\nfrom barman.timestamps import parse_timestamp\n"
        "parse_timestamp('2026-11-22 05:10:04.436093+00:00')\nassert 'dateutil' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_ctime_pads_the_day_with_a_blank():
    assert format_ctime(datetime(2026, 11, 1, 5, 10, 39)) == "Sun Nov  1 05:10:39 2026"
