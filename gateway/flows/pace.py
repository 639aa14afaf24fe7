"""How fast the farm gets through its queue, for estimates and Retry-After."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

_KEPT = 64
_LONGEST = 600.0
_GUESS = 10.0


class Pace:
    """Remembers when the last prompts ended."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends: deque[float] = deque(maxlen=_KEPT)

    def ended(self) -> None:
        self._ends.append(self._clock())

    def interval(self) -> float | None:
        """Seconds between two ends of late; None before there were two."""
        if len(self._ends) < 2:
            return None
        return (self._ends[-1] - self._ends[0]) / (len(self._ends) - 1)

    def until_room(self) -> float:
        """Seconds until a full queue may have room: 1 to 600."""
        return min(_LONGEST, max(1.0, self.interval() or _GUESS))

    def until_turn(self, position: int) -> float | None:
        """Seconds until the prompt at this place of the queue may start; None while nothing is known."""
        interval = self.interval()
        return None if interval is None else (position + 1) * interval
