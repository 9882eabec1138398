"""How long processes live: until they are told to stop, and not longer than who started them."""

import ctypes
import os
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
LOOK_SECONDS = 0.2


class StopSignal:
    """Whether one of these signals has come. To be made and waited for in the main thread.

    Not an Event: its handler would take a lock that the code it interrupts may hold. And no wait
    without end: Python runs handlers in the main thread, which a signal that the kernel gives to
    another thread does not wake.
    """

    def __init__(self, *signals: signal.Signals) -> None:
        self.came = False
        for number in signals:
            signal.signal(number, self._note)

    def _note(self, *_: object) -> None:
        self.came = True

    def wait(self) -> None:
        while not self.came:
            self.pause()

    def pause(self) -> None:
        time.sleep(LOOK_SECONDS)


def die_with(parent_pid: int, death_signal: signal.Signals) -> None:
    """Asks the kernel to send this process a signal when the parent's thread that started it ends,
    even by SIGKILL. Linux only; elsewhere a killed parent leaves its children to themselves."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(death_signal))
    if os.getppid() != parent_pid:  # it was dead before we asked
        os._exit(1)
