"""Where tests write: in memory when there is enough of it, else on disk. That things are synced is tested by calls."""

from __future__ import annotations

import pytest

from tests.support import places


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Choose for this run; the workers of xdist inherit it. Who names a directory (--basetemp, TMPDIR) has it."""
    if hasattr(config, "workerinput"):
        return
    places.sweep()
    places.keep_bytecode()
    if config.option.basetemp is None:
        places.write_into_memory()
        # Of its own: pytest closes the directory that all runs share, when one of them starts, to other users.
        config.option.basetemp = places.make_short_directory("run")
