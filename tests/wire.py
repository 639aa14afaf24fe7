"""HTTP by hand, for what no library would send: a worker that answers raw bytes, and a client that does."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

ON_BOTH_LOOPS = pytest.mark.parametrize(
    "anyio_backend",
    [("asyncio", {"use_uvloop": False}), ("asyncio", {"use_uvloop": True})],
    ids=["asyncio", "uvloop"],
)
"""For tests of what depends on how a loop's transports read and write."""

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Head:
    """The first line and headers of a request or response; names are lowercase."""

    line: str
    headers: list[tuple[str, str]]

    def get(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.headers}

    @property
    def target(self) -> str:
        return self.line.split(" ")[1]

    @property
    def status(self) -> int:
        return int(self.line.split(" ")[1])


async def read_head(reader: asyncio.StreamReader) -> Head:
    raw = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *lines = raw.removesuffix("\r\n\r\n").split("\r\n")
    pairs = [line.partition(":") for line in lines]
    return Head(line, [(name.lower(), value.strip()) for name, _, value in pairs])


async def read_chunk(reader: asyncio.StreamReader) -> bytes:
    """One chunk of a chunked body; b"" at its clean end; IncompleteReadError when it breaks off."""
    size = int((await reader.readuntil(b"\r\n")), 16)
    data = await reader.readexactly(size + 2)
    return data[:-2]


async def read_body(reader: asyncio.StreamReader, head: Head) -> bytes:
    if (length := head.get("content-length")) is not None:
        return await reader.readexactly(int(length))
    if head.get("transfer-encoding") != "chunked":
        return b""
    body = b""
    while chunk := await read_chunk(reader):
        body += chunk
    return body


@asynccontextmanager
async def worker(handler: Handler) -> AsyncIterator[str]:
    """A server that speaks as `handler` does, one call for each connection; yields its base URL."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answering(response: bytes, *, seen: list[Head] | None = None) -> Handler:
    """Answers each request on a connection with the same bytes, and notes its head."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof():
            head = await read_head(reader)
            if seen is not None:
                seen.append(head)
            await read_body(reader, head)
            writer.write(response.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if head.line.startswith("HEAD") else response)
            await writer.drain()

    return handler


@asynccontextmanager
async def connection(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client's connection to the server at `url`, closed at the end."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def exchange(url: str, request: bytes) -> tuple[Head, bytes]:
    """Send a whole request and read a whole response."""
    async with connection(url) as (reader, writer):
        writer.write(request)
        head = await read_head(reader)
        return head, b"" if request.startswith(b"HEAD") else await read_body(reader, head)


def nobody() -> str:
    """A URL where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def small() -> socket.socket:
    """One that takes little that nobody reads; the kernel would let it grow to what is to be too much here."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
    return sock
