"""Scripts at one point, run by the real shell."""

from __future__ import annotations

from pathlib import Path

from barman.config.loader import load_settings
from barman.hooks.hooks import Hooks, Pauses
from barman.hooks.points import Script
from barman.report import MemoryReporter
from barman.server.server import Server

QUICK = Pauses(short=0.01, long=0.02, every=3)


def script(command: str, *, kind: str = "script", phase: str = "pre", seconds: int = 20) -> Script:
    return Script("backup", phase, kind, command, seconds)


def hooks_with(tmp_path: Path, pauses: Pauses = QUICK, **options: str) -> tuple[Hooks, MemoryReporter]:
    main = tmp_path / "barman.conf"
    lines = "".join(f"{name} = {value}\n" for name, value in options.items())
    main.write_text(f"[barman]\nbarman_home = {tmp_path}\n[main]\nactive = off\n{lines}")
    reporter = MemoryReporter()
    return Hooks(Server(load_settings(str(main), {}).servers["main"]), reporter, pauses), reporter
