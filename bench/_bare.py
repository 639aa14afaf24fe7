"""The least that can stand between a worker's socket and a client's: aiohttp on one side, uvicorn on the other."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any

import aiohttp
import uvicorn


class Bare:
    """Each client's socket is one to the upstream under the same name; without an upstream it is told one thing."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        await receive()
        await send({"type": "websocket.accept"})
        if not self._upstream:
            await send({"type": "websocket.send", "text": '{"type": "status"}'})
        pumping = asyncio.create_task(self._pump(scope["query_string"].decode(), send))
        while (await receive())["type"] != "websocket.disconnect":
            pass
        pumping.cancel()
        with suppress(asyncio.CancelledError):
            await pumping

    async def _pump(self, query: str, send: Any) -> None:
        if not self._upstream:
            return
        address = f"{self._upstream}/ws?{query}"
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(address, max_msg_size=0, compress=0) as upstream,
        ):
            async for message in upstream:
                key = "text" if isinstance(message.data, str) else "bytes"
                await send({"type": "websocket.send", key: message.data})


def serve(upstream: str) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    options: dict[str, Any] = {"ws": "websockets-sansio", "ws_per_message_deflate": False, "lifespan": "off"}
    config = uvicorn.Config(Bare(upstream), log_level="warning", access_log=False, **options)
    print(f"relaying at http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    uvicorn.Server(config).run([listener])
