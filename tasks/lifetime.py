"""Processes that must not outlive the one that started them."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with(parent_pid: int, death_signal: signal.Signals) -> None:
    """Asks the kernel to send this process a signal when the parent's thread that started it ends,
    even by SIGKILL. Linux only; elsewhere a killed parent leaves its children to themselves."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(death_signal))
    if os.getppid() != parent_pid:  # it was dead before we asked
        os._exit(1)
