"""What a test needs of the host, and what happens where the host has it not.

A program is a matter of installing: without it the test is skipped on a developer's host, and fails where everything
must be there (CI=true), so that no green run hides a test that never ran. A privilege (to mount, to trace, to be root)
is a matter of the host: no installation gives it, the test is skipped with the reason.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import NoReturn

import pytest

_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2
_CAPABILITIES_3 = 0x20080522


def skip_or_fail(reason: str) -> NoReturn:
    """Skip the test here, with the reason; fail it where everything must be there (CI=true)."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def need_program(name: str) -> str:
    """The path of a program, looked for where system programs are too."""
    places = [os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"]
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        skip_or_fail(f"{name} is not installed")
    return found


@contextlib.contextmanager
def small_disk(place: str | os.PathLike[str], size: str) -> Iterator[None]:
    """A file system of its own on a directory: `size` as tmpfs reads it."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    argv = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", os.fspath(place)]
    if subprocess.run(argv, check=False, capture_output=True).returncode != 0:
        pytest.skip("this host lets nobody mount a small file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", os.fspath(place)], check=True)


def skip_if_not_traced(said: str | bytes) -> None:
    """Skip the test where the host forbids tracing, which strace says in its own words."""
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    if "ptrace" in text:
        pytest.skip(f"this host lets nobody trace: {text.splitlines()[0]}")


@contextlib.contextmanager
def ordinary_permissions() -> Iterator[None]:
    """Let permissions count for this thread, and for threads it starts, also when root runs the tests."""
    if os.geteuid() != 0:
        yield
        return
    before = _effective()
    _set_effective(before & ~(1 << _CAP_DAC_OVERRIDE | 1 << _CAP_DAC_READ_SEARCH))
    try:
        yield
    finally:
        _set_effective(before)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def _capabilities() -> ctypes.Array[_Data]:
    data = (_Data * 2)()
    if ctypes.CDLL(None, use_errno=True).capget(ctypes.byref(_Header(_CAPABILITIES_3, 0)), data) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    return data


def _effective() -> int:
    return int(_capabilities()[0].effective)


def _set_effective(bits: int) -> None:
    data = _capabilities()
    data[0].effective = bits
    if ctypes.CDLL(None, use_errno=True).capset(ctypes.byref(_Header(_CAPABILITIES_3, 0)), data) != 0:
        raise OSError(ctypes.get_errno(), "capset")
