"""What the gateway is measured beside, and the upstream of both: `python -m bench._beside static|same|relay …`."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from pathlib import Path
from typing import Any

import aiohttp
import uvicorn
import uvloop
from aiohttp import web

SMALL = json.dumps({"exec_info": {"queue_remaining": 0}}).encode()
BIG = b"\xa5" * (4 * 2**20)
_ROUTES = {
    b"/prompt": SMALL,
    b"/small": SMALL,
    b"/big.bin": BIG,
    b"/queue": b'{"queue_running": [], "queue_pending": []}',
    b"/system_stats": b'{"system": {}, "devices": []}',
    b"/object_info": b"{}",
}


class Static(asyncio.Protocol):
    """As little of an HTTP server as can be: fixed answers to GET, at several times the rate of what is in front."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._data = b""

    def data_received(self, data: bytes) -> None:
        self._data += data
        while b"\r\n\r\n" in self._data:
            head, _, self._data = self._data.partition(b"\r\n\r\n")
            if not head.startswith(b"GET "):  # with a body, perhaps, that is not worth reading
                self._transport.write(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                self._transport.close()
                return
            body = _ROUTES.get(head.split(b" ", 2)[1])
            status, body = (b"200 OK", body) if body is not None else (b"404 Not Found", b"")
            kind = b"application/json" if len(body) < 1000 else b"application/octet-stream"
            length = str(len(body)).encode()
            start = b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %b\r\n\r\n" % (status, kind, length)
            if len(body) < 1000:
                self._transport.write(start + body)
            else:
                self._transport.writelines((start, body))


async def static() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Static, "127.0.0.1", 0, backlog=1024)
    print(f"static at http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


async def same(folder: str) -> None:
    """An aiohttp.web server whose handlers send the bytes in the files of this folder, under their names."""

    def sending(body: bytes) -> Any:
        async def handler(_: web.Request) -> web.Response:
            return web.Response(body=body, content_type="application/json", charset="utf-8")

        return handler

    app = web.Application()
    for file in Path(folder).iterdir():
        app.router.add_get(f"/{file.name.replace('+', '/')}", sending(file.read_bytes()))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"same at http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


class Relay:
    """The least that can carry a request with the libraries that the gateway is made of: a raw ASGI app, aiohttp."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0)
            self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False, read_bufsize=2**18)
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        address = self._upstream + scope["raw_path"].decode("latin-1")
        async with self._session.request(scope["method"], address, headers=headers) as reply:
            answer = [(name.lower(), value) for name, value in reply.raw_headers]
            await send({"type": "http.response.start", "status": reply.status, "headers": answer})
            async for chunk in reply.content.iter_any():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


def relay(upstream: str) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    options: dict[str, Any] = {"http": "httptools", "lifespan": "off", "access_log": False, "server_header": False}
    print(f"relay at http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    uvicorn.Server(uvicorn.Config(Relay(upstream), log_level="error", **options)).run([listener])


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["static"]:
            uvloop.run(static())
        case ["same", folder]:
            uvloop.run(same(folder))
        case ["relay", upstream]:
            relay(upstream)
