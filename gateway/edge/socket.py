"""/ws: one ComfyUI's event socket (contract section 4). A raw ASGI app."""

from __future__ import annotations

import asyncio
import json
import uuid
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

from starlette.types import Receive, Scope, Send

from gateway.domain.errors import GatewayError
from gateway.domain.ids import ClientId
from gateway.flows.clients import Clients
from gateway.flows.connection import Connection

_TRY_AGAIN_LATER = 1013
"""What a client is told that does not read what it is sent, and one that comes while the state is away."""


class Socket:
    def __init__(self, clients: Clients, flags: dict[str, Any]) -> None:
        """`flags` is the gateway's answer to a client's feature flags."""
        self._clients = clients
        self._flags = flags

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        with suppress(OSError):  # it has gone
            await send({"type": "websocket.accept"})
            with suppress(GatewayError):
                async with self._clients.joined(_sid(scope)) as connection:
                    await self._serve(receive, send, connection)
            await send({"type": "websocket.close", "code": _TRY_AGAIN_LATER})

    async def _serve(self, receive: Receive, send: Send, connection: Connection) -> None:
        """Until it fell behind; raises OSError when it is gone."""
        reading = asyncio.create_task(self._read(receive, connection), name="read client")
        writing = asyncio.create_task(_write(send, connection), name="write client")
        try:
            await asyncio.wait((reading, writing, connection.behind), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (reading, writing):
                task.cancel()
            await asyncio.wait((reading, writing))
        for task in (reading, writing):
            if not task.cancelled():
                task.result()

    async def _read(self, receive: Receive, connection: Connection) -> None:
        """Only the first JSON object counts, if it tells feature flags; the rest is read and ignored, as by ComfyUI."""
        first = True
        while (message := await receive())["type"] != "websocket.disconnect":
            if first and isinstance(told := _json(message.get("text")), dict):
                first = False
                if told.get("type") == "feature_flags":
                    connection.flags(told.get("data"), self._flags)
        raise ConnectionResetError


async def _write(send: Send, connection: Connection) -> None:
    async for item in connection:
        kind = "text" if isinstance(item, str) else "bytes"
        await send({"type": "websocket.send", kind: item, "more": connection.has_more})


def _json(text: str | None) -> Any:
    with suppress(ValueError, RecursionError):
        return json.loads(text or "")
    return None


def _sid(scope: Scope) -> ClientId:
    """The clientId that it gives, else a new one, as ComfyUI mints them."""
    given = parse_qs(scope["query_string"].decode("latin-1")).get("clientId", [""])[0]
    return ClientId(given or uuid.uuid4().hex)
