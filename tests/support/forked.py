"""Both programs, started once each: every run is a fork of a process that has imported everything already.

Hundreds of command lines of either program take seconds so, not minutes. Each runs in a process of its own, from the
program's own start, with files as its streams.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.fix_upstream import own_environment

ROOT = Path(__file__).resolve().parents[2]

_LOOP = """
import atexit, gc, json, os, runpy, sys

# What is here now is never collected, so that a child does not copy the pages that it lies in.
gc.collect()
gc.freeze()


def leave(end):
    # As the interpreter leaves, without taking apart, module by module, what only the parent needs.
    code = end.code
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    if "threading" in sys.modules:
        sys.modules["threading"]._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit((code or 0) & 255)


for line in sys.stdin:
    request = json.loads(line)
    pid = os.fork()
    if pid:
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
        continue
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(request["err"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 2)
    if request["out"] == "closed":
        os.close(1)
        sys.stdout = sys.__stdout__ = None
    elif request["out"] == "broken pipe":
        ours, theirs = os.pipe()
        os.close(ours)
        os.dup2(theirs, 1)
        os.close(theirs)
    else:
        os.dup2(os.open(request["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 1)
    sys.argv = [program, *request["argv"]]
    at_once = request["out"] not in ("closed", "broken pipe")
    break
else:
    sys.exit(0)
"""

_ORIGINAL = (
    """
import runpy, sys
program = sys.argv[1]
runpy.run_path(program, run_name="imported")
"""
    + _LOOP
    + """
try:
    runpy.run_path(program, run_name="__main__")
except SystemExit as end:
    if at_once:
        leave(end)
    raise
"""
)

_OURS = (
    """
from tests.support.offline import import_everything
import_everything()
import sys
program = "barman"
"""
    + _LOOP
    + """
try:
    runpy.run_module("barman", run_name="__main__", alter_sys=True)
except SystemExit as end:
    if at_once:
        leave(end)
    raise
"""
)


@dataclass(frozen=True)
class Ran:
    """What a run left: the exit code and both streams."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return self.out + self.err


class Program:
    """One of the programs on one configuration file."""

    def __init__(self, argv: list[str], config_file: str, scratch: Path, environment: dict[str, str]) -> None:
        self.config_file = config_file
        self._out, self._err = scratch / "out", scratch / "err"
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=scratch, env=environment
        )

    def run(self, *arguments: str, out: str = "") -> Ran:
        """Run a command line; `out` may be `closed` or `broken pipe`: what standard output is instead of a file."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._out.write_bytes(b"")
        argv = ["-c", self.config_file, *arguments]
        request = {"argv": argv, "out": out or str(self._out), "err": str(self._err)}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the program ended: barman {' '.join(arguments)}"
        texts = [path.read_bytes().decode(errors="replace") for path in (self._out, self._err)]
        return Ran(int(answer), *texts)

    def close(self) -> None:
        """End the process that waits for command lines."""
        self._process.communicate(timeout=30)


def start_original(program: str, config_file: str, scratch: Path) -> Program:
    """The released original, run by the interpreter that its own first line names."""
    with open(program, encoding="utf-8") as file:
        interpreter = file.readline().removeprefix("#!").split()
    scratch.mkdir()
    environment = own_environment(HOME=os.path.dirname(config_file), PYTHONDONTWRITEBYTECODE="1")
    return Program([*interpreter, "-c", _ORIGINAL, program], config_file, scratch, environment)


def start_ours(config_file: str, scratch: Path) -> Program:
    """This program, from this directory."""
    scratch.mkdir()
    environment = {**os.environ, "HOME": os.path.dirname(config_file), "PYTHONPATH": str(ROOT)}
    return Program([sys.executable, "-c", _OURS], config_file, scratch, environment)
