"""The arithmetic of a sliding-window counter.

The last `length` seconds are taken to hold the calls of the current window and, of the previous
one, the share that still overlaps; `limits` rounds that share down.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """`previous_ttl`: seconds until the previous window's calls have all left; `shift`: until the
    current window becomes the previous one.
    """

    limit: int
    length: int
    previous: int
    previous_ttl: float
    current: int
    shift: float

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.current - int(self._overlap))

    @property
    def _overlap(self) -> float:
        return self.previous * self.previous_ttl / self.length

    def wait(self, cost: int) -> float:
        """Seconds until `cost` fits if nobody else calls; a window's length if it never does."""
        room = self.limit - cost
        if room < 0:
            return float(self.length)
        if self.current > room:
            return self.shift + max(0.0, self._fade(self.current, float(self.length), room))
        return max(0.0, self._fade(self.previous, self.previous_ttl, room - self.current))

    def _fade(self, calls: int, ttl: float, room: int) -> float:
        """Seconds until the share of `calls`, rounded down, is at most `room`."""
        return ttl - (room + 1) * self.length / calls if calls else 0.0


def whole_seconds(wait: float) -> int:
    """Rounded up, past the moment itself, and at least 1."""
    return max(1, math.ceil(wait + 0.001))
