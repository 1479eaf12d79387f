"""What becomes of SIGINT and SIGTERM: an exception in the main thread, at once or as soon as it does no harm."""

from __future__ import annotations

import signal

from barman.errors import Interrupted


def raise_interrupted(number: int, _frame: object) -> None:
    """A signal handler. Raises Interrupted, now or at the end of what holds it."""
    if held.now:
        held.waiting = number
        return
    raise Interrupted(signal.Signals(number).name)


class held:  # reads as a word: with held()
    """Let a signal wait while something happens that must be whole, like starting a program and noting it.

    The first one that came is raised as Interrupted at the end. Signals come to the main thread alone: in another one
    nothing has to be held.
    """

    now = False
    waiting = 0

    __slots__ = ("_mine",)

    def __enter__(self) -> None:
        import threading

        self._mine = not held.now and threading.current_thread() is threading.main_thread()
        if self._mine:
            held.now = True

    def __exit__(self, *_: object) -> None:
        if not self._mine:
            return
        held.now = False
        number, held.waiting = held.waiting, 0
        if number:
            raise Interrupted(signal.Signals(number).name)
