"""Make this process unable to change the file system: what a dry run shares with the real run cannot do harm.

An audit hook (PEP 578) sees every call of the interpreter that changes a file, whichever module makes it, and refuses
it; so are the programs that the process would start. It stays until the process ends, since audit hooks cannot be
removed. A cache that cannot be written is done without, as on a full disk.
"""

from __future__ import annotations

import errno
import os
import sys

from barman.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection

_CHANGES = frozenset(
    (
        *("os.rename", "os.link", "os.symlink", "os.remove", "os.rmdir", "os.mkdir", "os.truncate"),
        *("os.chmod", "os.chown", "os.utime", "os.setxattr", "os.removexattr"),
        *("os.exec", "os.posix_spawn", "os.spawn", "os.system", "subprocess.Popen", "os.kill", "os.killpg"),
    )
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def forbid_changes(*, but: Collection[str] = ()) -> None:
    """From now on every change raises OSError (EROFS), but for the files named: the log."""
    allowed = {os.path.realpath(path) for path in but if path}
    sys.dont_write_bytecode = True

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, flags = arguments[0], arguments[2]
            if isinstance(path, int) or not isinstance(flags, int) or not flags & _WRITING:
                return
        elif event == "os.kill" and arguments[1] == 0:
            return  # asks whether a process is there
        elif event in _CHANGES:
            path = arguments[0]
        else:
            return
        name = os.fsdecode(path) if isinstance(path, (str, bytes)) else str(path)
        is_device = name.startswith("/dev/") and not name.startswith("/dev/shm/")
        if is_device or os.path.realpath(name) in allowed:
            return
        raise OSError(errno.EROFS, "this is a dry run, which changes nothing", name)

    sys.addaudithook(refuse)
