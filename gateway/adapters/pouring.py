"""A body on its way from a worker's socket to a client's, and the memory that it passes through: one buffer for all.

What the client's socket does not take at once stays in that buffer until it does, and another is used meanwhile.
"""

from __future__ import annotations

from collections import deque

from gateway.domain.ports.relay import Sink

_READ_SIZE = 2**18
_HELD = 16
"""Buffers that are looked through for one to use again."""


class Buffer:
    """What all connections read into, one after the other; another one while a sink holds what was read last."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(_READ_SIZE))
        self._held: deque[tuple[memoryview, Pouring, int]] = deque(maxlen=_HELD)

    def held_by(self, pouring: Pouring) -> None:
        """What was read last is not sent yet. It is used again after that: new memory costs as much as reading."""
        self._held.append((self.view, pouring, pouring.written))
        for _ in range(len(self._held)):
            view, holder, end = self._held.popleft()
            if holder.sent >= end:
                self.view = view
                return
            self._held.append((view, holder, end))
        self.view = memoryview(bytearray(_READ_SIZE))


class Pouring:
    """A body on its way into a sink, and how far it has come."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.written = 0

    def write(self, data: bytes | memoryview) -> None:
        self.written += len(data)
        self._sink.write(data)

    @property
    def sent(self) -> int:
        return self.written - self._sink.pending()
