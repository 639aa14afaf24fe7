"""uvicorn's WebSocket protocol, but a client that does not read cannot hold its connection for ever, and frames of
one moment are written at once.

uvicorn lets a close wait until there is room to write it, and then until all that was written before is sent: neither
comes where nobody reads, and the connection, its task and its buffers would stay. And it writes each frame by itself,
a system call each, which costs as much as all else that is done about a short one.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn._types import ASGISendEvent, WebSocketSendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.protocol import State

from gateway.edge.http import untaken

_LAST_WORDS = 5.0
"""Seconds in which a client may still fetch what was sent, and answer the close; so many more while it does fetch."""
_PATIENCE = 12
"""How often."""
_AT_ONCE = 2**16
"""Bytes that wait while the app says that there is `more`; beyond, the transport says whether there is room."""


class PatientlyClosed(WebSocketsSansIOProtocol):
    _end: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._frames: list[bytes] = []
        self._size = 0

    async def send(self, message: ASGISendEvent) -> None:
        if message["type"] == "websocket.send" and self._is_open():
            await self.writable.wait()
            if self._is_open():
                self._gather(message)
                return
        self._write_gathered()
        if message["type"] == "websocket.close":
            self.writable.set()
            self._end_soon()
        await super().send(message)

    def shutdown(self) -> None:
        self._write_gathered()
        super().shutdown()

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self._end_soon()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._end is not None:
            self._end.cancel()
        super().connection_lost(exc)

    def _is_open(self) -> bool:
        return self.handshake_complete and not self.disconnected and self.conn.state is State.OPEN

    def _gather(self, message: WebSocketSendEvent) -> None:
        if (data := message.get("bytes")) is not None:
            self.conn.send_binary(data)
        else:
            self.conn.send_text((message.get("text") or "").encode())
        for part in self.conn.data_to_send():
            self._frames.append(part)
            self._size += len(part)
        if self._size > _AT_ONCE or not message.get("more"):
            self._write_gathered()

    def _write_gathered(self) -> None:
        frames, self._frames, self._size = self._frames, [], 0
        if frames and self._is_open():
            self.transport.write(b"".join(frames))

    def _end_soon(self) -> None:
        if self._end is None:
            self._end = self.loop.call_later(_LAST_WORDS, self._give_up, untaken(self.transport), _PATIENCE)

    def _give_up(self, before: int, patience: int) -> None:
        left = untaken(self.transport)
        if left < before and patience > 1:
            self._end = self.loop.call_later(_LAST_WORDS, self._give_up, left, patience - 1)
        else:
            self.transport.abort()
