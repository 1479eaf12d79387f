"""config-update killed at each of its changes: readers see a whole configuration, and cron finishes the work."""

from __future__ import annotations

import json
from pathlib import Path

from barman.config.update import ConfigUpdater
from barman.report import MemoryReporter
from tests.support.crash import every_crash
from tests.unit.config.test_update import EXTRA, Place, server


def test_killed_anywhere_it_is_all_or_nothing_after_the_next_cron(tmp_path: Path) -> None:
    place = Place(tmp_path)
    request = json.dumps([server("a", description="New", slot_name="s"), server("b", description="B", active="off")])
    finished = set()
    for at in every_crash(
        lambda: ConfigUpdater(place.settings, {}).update(request, MemoryReporter()), str(tmp_path), place.restore
    ):
        loaded = place.settings
        assert loaded.problems == []
        pending = place.queue.exists() and json.loads(place.queue.read_text()) != []
        written = loaded.servers["a"].description == "New"
        assert pending or place.extra.read_text() in (EXTRA, EXTRA.replace("= A", "= New")), at
        place.finish()
        done = place.settings.servers
        state = (done["a"].description, done["a"].slot_name, done["b"].description, done["b"].active)
        assert state in (("A", None, None, True), ("New", "s", "B", False)), at
        assert state[0] == "New" or not (pending or written), at
        finished.add(state)
        assert place.finish()[0].lines == []
    assert len(finished) == 2
