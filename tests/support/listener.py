"""A hook script that notes what it is told, as the value of hook options."""

from __future__ import annotations

import os
from pathlib import Path

from barman.config.options.hooks import HookOptions

Call = dict[str, str]
ALL = tuple(name for name in vars(HookOptions) if name.endswith("_script"))


class Listener:
    """Notes the `BARMAN_*` variables of every call in a file of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        self.script = str(directory / "note.sh")
        lines = ("#!/bin/sh", f"n=$(ls {directory}/calls | wc -l)", f"env -0 >{directory}/calls/$(printf %06d $n)")
        Path(self.script).write_text("\n".join(lines) + "\n")
        os.chmod(self.script, 0o755)
        (directory / "calls").mkdir()
        self._told = 0

    def options(self, *names: str, **others: str) -> dict[str, str]:
        """Hook options with this script: those named, or all; `others` are added, or take their place."""
        return {**dict.fromkeys(names or ALL, self.script), **others}

    def calls(self) -> list[Call]:
        """The calls since this was asked last, in their order, each with its variables without `BARMAN_`."""
        files = sorted((self.directory / "calls").iterdir())[self._told :]
        self._told += len(files)
        calls = []
        for file in files:
            variables = (item.partition("=") for item in os.fsdecode(file.read_bytes()).split("\0"))
            told = {name[7:]: value for name, _, value in variables if name.startswith("BARMAN_")}
            # Where the tests find their programs was in the environment before.
            calls.append({name: value for name, value in told.items() if not name.startswith("TEST_")})
        return calls

    def heard(self) -> list[str]:
        """The same, each call as the name of its option."""
        return [f"{call['PHASE']}_{call['HOOK']}" for call in self.calls()]
