"""Where tests write: in memory when there is enough of it, else on disk. That things are synced is tested by calls."""

from __future__ import annotations

import shutil

import pytest
from hypothesis import HealthCheck, settings

from tests.support import places

_OURS = pytest.StashKey[str]()


# No test depends on how fast the machine is.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Choose for this run; the workers of xdist inherit it. Who names a directory (--basetemp, TMPDIR) has it."""
    if hasattr(config, "workerinput"):
        return
    places.keep_bytecode()
    if config.option.basetemp is None:
        places.write_into_memory()
        places.sweep()
        # Of its own: pytest closes the directory that all runs share, when one of them starts, to other users.
        config.option.basetemp = config.stash[_OURS] = places.make_short_directory("run")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Remove what modules shared. After a failure it stays until the next run."""
    directory = session.config.stash.get(_OURS, "")
    if directory and exitstatus == pytest.ExitCode.OK:
        shutil.rmtree(directory, ignore_errors=True)
