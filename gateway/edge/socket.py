"""/ws: one ComfyUI's event socket (contract section 4). A raw ASGI app."""

from __future__ import annotations

import asyncio
import json
import uuid
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from gateway.domain.ids import ClientId
from gateway.flows.clients import Clients, Connection

_BEHIND = 1013
"""Try again later: what a client is told that does not read what it is sent."""


class Socket:
    def __init__(self, clients: Clients, flags: dict[str, Any]) -> None:
        """`flags` is the gateway's answer to a client's feature flags."""
        self._clients = clients
        self._flags = flags

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(scope, receive, send)
        await socket.accept()
        async with self._clients.joined(_sid(scope)) as connection:
            reading = asyncio.create_task(self._read(socket, connection), name="read client")
            writing = asyncio.create_task(self._write(socket, connection), name="write client")
            try:
                await asyncio.wait((reading, writing), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (reading, writing):
                    task.cancel()
                await asyncio.gather(reading, writing, return_exceptions=True)

    async def _read(self, socket: WebSocket, connection: Connection) -> None:
        """Only the first valid JSON counts, if it tells feature flags; the rest is read and ignored, as by ComfyUI."""
        first = True
        while (message := await socket.receive())["type"] != "websocket.disconnect":
            if first and message.get("text"):
                with suppress(ValueError):
                    told = json.loads(message["text"])
                    first = False
                    if isinstance(told, dict) and told.get("type") == "feature_flags":
                        connection.flags(told.get("data"), self._flags)

    async def _write(self, socket: WebSocket, connection: Connection) -> None:
        with suppress(WebSocketDisconnect):
            async for item in connection:
                if isinstance(item, str):
                    await socket.send_text(item)
                else:
                    await socket.send_bytes(item)
            await socket.close(_BEHIND)


def _sid(scope: Scope) -> ClientId:
    """The clientId that it gives, else a new one, as ComfyUI mints them."""
    given = parse_qs(scope["query_string"].decode("latin-1")).get("clientId", [""])[0]
    return ClientId(given or uuid.uuid4().hex)
