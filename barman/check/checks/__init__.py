"""The checks, one file a subject, and their order."""

from __future__ import annotations

from barman.check.check import Check

ALL_CHECKS: tuple[Check, ...] = ()
