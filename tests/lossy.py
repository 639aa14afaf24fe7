"""A way to the state that can lose an answer: the operation is done, and nobody hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from redis.asyncio import Redis

from gateway.adapters.redis_scripts import Scripts


class Lossy:
    """Passes bytes on in both directions, until `lose`; then it is away until `back`."""

    def __init__(self, upstream: str, socket: Path) -> None:
        self.url = f"unix://{socket}"
        self.lost = asyncio.Event()
        self._upstream = upstream.removeprefix("unix://")
        self._socket = socket
        self._marker = b""
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def lose(self, operation: str) -> None:
        """Let the next run of this Lua operation reach the state, cut every connection, and take no new one."""
        self._marker = Scripts(Redis(), lambda name, seconds: None)._scripts[operation].sha.encode()
        self.lost.clear()

    async def back(self) -> None:
        self._server = await asyncio.start_unix_server(self._connected, self._socket)

    def away(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._writers:
            writer.transport.abort()

    async def close(self) -> None:
        self.away()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to = await asyncio.open_unix_connection(self._upstream)
        self._writers |= {writer, to}
        answers = asyncio.create_task(self._carry(there, writer))
        self._tasks.add(answers)
        with suppress(OSError):
            while data := await reader.read(2**16):
                to.write(data)
                if self._marker and self._marker in data:
                    self._marker = b""
                    answers.cancel()
                    await asyncio.gather(answers, return_exceptions=True)
                    await there.read(1)  # it is done when it is answered
                    self.lost.set()
                    self.away()
        to.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(2**16):
                writer.write(data)
        writer.close()


@asynccontextmanager
async def lossy(state: str, folder: Path) -> AsyncIterator[Lossy]:
    way = Lossy(state, folder / "lossy")
    await way.back()
    try:
        yield way
    finally:
        await way.close()
