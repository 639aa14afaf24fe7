"""uvicorn's WebSocket protocol, but a client that does not read cannot hold its connection for ever.

uvicorn lets a close wait until there is room to write it, and then until all that was written before is sent: neither
comes where nobody reads, and the connection, its task and its buffers would stay.
"""

from __future__ import annotations

import asyncio

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

_LAST_WORDS = 5.0
"""Seconds in which a client may still fetch what was sent, and answer the close."""


class PatientlyClosed(WebSocketsSansIOProtocol):
    _end: asyncio.TimerHandle | None = None

    async def send(self, message: ASGISendEvent) -> None:
        if message["type"] == "websocket.close":
            self.writable.set()
            self._end_soon()
        await super().send(message)

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self._end_soon()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._end is not None:
            self._end.cancel()
        super().connection_lost(exc)

    def _end_soon(self) -> None:
        if self._end is None:
            self._end = self.loop.call_later(_LAST_WORDS, self.transport.abort)
