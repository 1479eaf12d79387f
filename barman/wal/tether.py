"""Run a program that ends when its parent ends: `python tether.py PARENT_PID PROGRAM ARGUMENT...`.

A receiver that is killed with SIGKILL cannot end its pg_receivewal, which would go on holding the replication slot.
The kernel can: a process may ask for a signal at its parent's death, and keeps that wish over exec. This file runs as
a script in the child, between fork and exec, where only it can ask; it is never imported.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask for SIGINT, with which pg_receivewal ends in good order, and become the program."""
    parent = int(sys.argv[1])
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
    except (OSError, AttributeError):
        pass  # not Linux: the next receiver ends the orphan by the pid it finds in the receiver's state
    if os.getppid() != parent:
        raise SystemExit("the receiver ended before its program started")
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execv(sys.argv[2], sys.argv[2:])


main()
