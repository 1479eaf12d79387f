"""How the help of every program is laid out."""

from __future__ import annotations

import argparse
import os


class Formatter(argparse.HelpFormatter):
    """Measures the terminal by itself: argparse makes one for every option, and imports shutil for its width."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)


def _columns() -> int:
    """The width of the terminal as `shutil.get_terminal_size` finds it."""
    try:
        return int(os.environ["COLUMNS"]) or 80
    except (KeyError, ValueError):
        pass
    try:
        return os.get_terminal_size(1).columns or 80
    except (OSError, ValueError):
        return 80
