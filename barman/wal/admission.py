"""What becomes of a file that waits to be archived. Pure: evidence in, decision out."""

from __future__ import annotations

from enum import Enum

from barman.values import dataclass

STALLED_AFTER = 10.0
"""Seconds without a write after which a short file is not being written any more."""


OTHER_CONTENT = "the archive has a file with this name and another content"


class Decision(Enum):
    """The five things that can happen to a file of a queue."""

    ARCHIVE = "archive"
    """It is sound and its name is free."""
    IDENTICAL = "identical"
    """The archive has the same content under the same name: the copy in the queue can go."""
    CONFLICTING = "conflicting"
    """The archive has another content under that name: set aside as `.duplicate`."""
    FOREIGN = "foreign"
    """It is not what its name says, or not of this server: set aside as `.unknown`."""
    LEAVE = "leave"
    """It may still be being written: the next run looks again."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a file: `defects` says why it is unsound, `short` that bytes are missing at its end.

    `archived` is None when the name is free, else whether the content under it is the same; `age` is the time in
    seconds since the last write.
    """

    defects: tuple[str, ...] = ()
    short: bool = False
    archived: bool | None = None
    age: float = STALLED_AFTER


@dataclass(frozen=True, slots=True)
class Judgement:
    """A decision and what speaks for it."""

    decision: Decision
    reasons: tuple[str, ...] = ()


def admit(evidence: Evidence) -> Judgement:
    """Decide. What is unsound never enters, and what is archived is never replaced.

    A short file that was written to a moment ago is left alone: `archive_command = 'cp …'` and `scp` write under the
    final name, and taking the file away from under them would acknowledge a segment that is not archived.
    """
    if evidence.short and evidence.age < STALLED_AFTER:
        return Judgement(Decision.LEAVE, evidence.defects)
    if evidence.archived is True:
        return Judgement(Decision.IDENTICAL)
    if evidence.archived is False:
        return Judgement(Decision.CONFLICTING, (OTHER_CONTENT, *evidence.defects))
    if evidence.defects:
        return Judgement(Decision.FOREIGN, evidence.defects)
    return Judgement(Decision.ARCHIVE)
