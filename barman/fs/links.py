"""A second name for a file that is already durable: archiving without copying its bytes."""

from __future__ import annotations

import errno
import os

from barman.fs import durable

_NO_HARD_LINKS = (errno.EXDEV, errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK)


def link_beside(source: str, final_path: str) -> str | None:
    """Give the file `source` a temporary name beside `final_path`, ready for `durable.publish`; the source stays.

    The content is synced first. None when the two places cannot share a file (other file system, no hard links): then
    the bytes have to be copied. Raises OSError as opening and syncing the source do.
    """
    durable.sync_file(source)
    directory, name = os.path.split(final_path)
    path = os.path.join(directory, f".{name}.{os.getpid()}.tmp")
    try:
        _link(source, path)
    except OSError as error:
        if error.errno in _NO_HARD_LINKS:
            return None
        raise
    return path


def _link(source: str, path: str) -> None:
    try:
        os.link(source, path, follow_symlinks=False)
    except FileExistsError:
        # The leftover of a dead process that had our pid.
        os.unlink(path)
        os.link(source, path, follow_symlinks=False)
