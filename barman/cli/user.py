"""Run as `barman_user`, so that nothing in the repository ever belongs to somebody else."""

from __future__ import annotations

import os

from barman.errors import ConfigError


def become(name: str | None) -> None:
    """Switch to the user when this process is somebody else. Raises ConfigError when that is not possible."""
    if not name:
        return
    import pwd

    try:
        user = pwd.getpwnam(name)
    except KeyError:
        raise ConfigError(
            f"the user '{name}' does not exist", hint="Create it, or set barman_user to an existing user."
        ) from None
    if user.pw_uid == os.getuid():
        return
    try:
        os.initgroups(name, user.pw_gid)
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
    except OSError:
        raise ConfigError(f"please run barman as the user '{name}'") from None
    os.environ["HOME"] = user.pw_dir
