"""Every combination of evidence, decided."""

from __future__ import annotations

import itertools

import pytest

from barman.wal.admission import STALLED_AFTER, Decision, Evidence, admit

DEFECT = ("its page magic is unknown",)


def test_a_sound_file_with_a_free_name_is_archived() -> None:
    assert admit(Evidence()).decision is Decision.ARCHIVE


def test_the_same_content_again_is_identical_even_if_an_earlier_release_archived_something_unsound() -> None:
    assert admit(Evidence(archived=True)).decision is Decision.IDENTICAL
    assert admit(Evidence(DEFECT, archived=True)).decision is Decision.IDENTICAL


def test_another_content_under_an_archived_name_conflicts_and_says_so() -> None:
    judgement = admit(Evidence(DEFECT, archived=False))
    assert judgement.decision is Decision.CONFLICTING
    assert "another content" in judgement.reasons[0]
    assert judgement.reasons[1:] == DEFECT


def test_an_unsound_file_is_foreign_with_its_reasons() -> None:
    judgement = admit(Evidence(DEFECT))
    assert judgement.decision is Decision.FOREIGN
    assert judgement.reasons == DEFECT


@pytest.mark.parametrize("archived", [None, True, False])
def test_a_short_file_that_is_still_written_to_is_left(archived: bool | None) -> None:
    fresh = Evidence(("it is empty",), True, archived, STALLED_AFTER - 0.1)
    assert admit(fresh).decision is Decision.LEAVE


def test_a_short_file_that_nobody_writes_to_any_more_is_foreign() -> None:
    assert admit(Evidence(("it is empty",), True, None, STALLED_AFTER)).decision is Decision.FOREIGN


def test_nothing_unsound_is_ever_archived() -> None:
    for short, archived, age in itertools.product((True, False), (None, True, False), (0.0, 1e9)):
        assert admit(Evidence(DEFECT, short, archived, age)).decision is not Decision.ARCHIVE
