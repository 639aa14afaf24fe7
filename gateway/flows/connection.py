"""One socket of one client: what it is told, waiting to be sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.domain.frames import made, parse
from gateway.domain.ids import ClientId, PromptId
from gateway.domain.outbox import Item, Outbox
from gateway.domain.telling import Told

_ABREAST = 64  # messages
_SMALL = 2**18  # bytes


@dataclass(frozen=True, slots=True)
class Room:
    """How much may wait for a client that reads slowly."""

    bytes: int = 64 * 2**20
    messages: int = 2048


class Connection:
    """One socket of one client: what it is told, waiting to be sent. Iterating ends when it fell too far behind."""

    __slots__ = ("_bell", "_outbox", "awaited", "behind", "client_id", "told")

    def __init__(self, client_id: ClientId, room: Room) -> None:
        self.client_id = client_id
        self.told = Told()
        self.awaited: set[PromptId] = set()  # accepted since it is here, and their start not told yet
        self._outbox = Outbox(room.bytes, room.messages)
        self._bell = asyncio.Event()
        self.behind: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when it fell too far behind; whoever sends to it may be waiting for it just then."""

    def put(self, items: Iterable[Item]) -> None:
        """What newer items make worthless is only left out for a client that is behind."""
        for item in items:
            keep_all = item.key is not None and len(self._outbox) < _ABREAST and item.size < _SMALL
            self._outbox.put(Item(item.messages) if keep_all else item)
        if self._outbox.overflow is not None and not self.behind.done():
            self.behind.set_result(None)
        self._bell.set()

    def replay(self, id: PromptId, events: Iterable[tuple[str, Any]]) -> None:
        """How a prompt began, told from elsewhere than its worker's socket."""
        self.awaited.discard(id)
        for event, data in events:
            self.put(self.told.frame(id, parse(made.event(event, data))))

    def flags(self, theirs: Any, ours: Mapping[str, Any]) -> None:
        """The client's feature flags, answered by the gateway's own."""
        self.told.announced(theirs if isinstance(theirs, dict) else {})
        self.put([Item((made.feature_flags(ours),))])

    @property
    def has_more(self) -> bool:
        """Whether something waits to be sent after what was taken last."""
        return len(self._outbox) > 0

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        while self._outbox.overflow is None:
            while (item := self._outbox.take()) is not None:
                for message in item.messages:
                    yield message
            self._bell.clear()
            if not len(self._outbox) and self._outbox.overflow is None:
                await self._bell.wait()
