import pytest
from hypothesis import given
from hypothesis import strategies as st

from barman.errors import CorruptRecord
from barman.postgres.lsn import Lsn
from barman.postgres.timeline import TimelineHistory

TEXT = "1\t0/5000000\tno recovery target specified\n\n# a comment\n2\t0/9000028\tbefore 2026\n"


def test_ownership_follows_the_switches():
    history = TimelineHistory.parse(4, TEXT)
    assert history.ancestors == (1, 2)
    assert history.owner_of(Lsn.parse("0/4FFFFFF")) == 1
    assert history.owner_of(Lsn.parse("0/5000000")) == 2
    assert history.owner_of(Lsn.parse("0/9000028")) == 4
    assert history.is_ancestor(2)
    assert not history.is_ancestor(3)
    assert history.end_of(2) == Lsn.parse("0/9000028")
    assert history.end_of(4) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only\n",
        "1\n",
        "x\t0/1\n",
        "1\tzzz\n",
        "4\t0/1\tx\n",
        "2\t0/2\tx\n1\t0/3\tx\n",
        "1\t0/5\tx\n2\t0/4\tx\n",
        "\0\0",
    ],
)
def test_a_damaged_history_is_an_error_that_names_the_timeline(text):
    with pytest.raises(CorruptRecord, match="timeline 4"):
        TimelineHistory.parse(4, text)


@given(st.text(max_size=200))
def test_no_text_makes_the_parser_fail_in_another_way(text):
    try:
        TimelineHistory.parse(9, text)
    except CorruptRecord:
        pass
