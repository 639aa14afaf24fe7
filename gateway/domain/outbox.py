"""What waits to be sent to one client: bounded, and never at the cost of what must not be lost."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Item:
    """Messages that are sent one after the other, without another in between."""

    messages: tuple[str | bytes, ...]
    key: Hashable = None
    """A newer item of the same key makes this one worthless; None: never."""

    @property
    def size(self) -> int:
        """Bytes of its messages, texts as UTF-8."""
        return sum(map(_size, self.messages))


@dataclass(frozen=True, slots=True)
class Overflow:
    """The client reads too slowly, and its socket is to be closed with 1013. How much would have waited."""

    messages: int
    bytes: int


class Outbox:
    """First in, first out. A newer item takes the older one of its key out and goes to the end itself: nothing is
    overtaken. An empty outbox takes an item of any size, as a result may be larger than all that may wait."""

    __slots__ = ("_bytes", "_max_bytes", "_max_messages", "_messages", "_overflow", "_waiting")

    def __init__(self, max_bytes: int, max_messages: int) -> None:
        self._max_bytes = max_bytes
        self._max_messages = max_messages
        self._waiting: OrderedDict[Hashable, tuple[Item, int]] = OrderedDict()  # with its bytes
        self._messages = 0
        self._bytes = 0
        self._overflow: Overflow | None = None

    def __len__(self) -> int:
        """Messages that wait."""
        return self._messages

    @property
    def bytes(self) -> int:
        """Bytes that wait."""
        return self._bytes

    @property
    def overflow(self) -> Overflow | None:
        """Set once and for good when a limit was passed: then nothing waits here any more, and nothing is let in."""
        return self._overflow

    def put(self, item: Item) -> Overflow | None:
        """Returns what `overflow` is from now on."""
        if self._overflow is not None:
            return self._overflow
        if item.key is not None and (older := self._waiting.pop(item.key, None)) is not None:
            self._count(*older, -1)
        full, size = bool(self._waiting), item.size
        self._waiting[object() if item.key is None else item.key] = item, size
        self._count(item, size, 1)
        if full and (self._bytes > self._max_bytes or self._messages > self._max_messages):
            self._overflow = Overflow(self._messages, self._bytes)
            self._waiting.clear()
            self._messages = self._bytes = 0
        return self._overflow

    def take(self) -> Item | None:
        """The oldest item that waits."""
        if not self._waiting:
            return None
        _, (item, size) = self._waiting.popitem(last=False)
        self._count(item, size, -1)
        return item

    def _count(self, item: Item, size: int, sign: int) -> None:
        self._messages += sign * len(item.messages)
        self._bytes += sign * size


def _size(message: str | bytes) -> int:
    return len(message) if isinstance(message, bytes) or message.isascii() else len(message.encode("utf-8", "replace"))
