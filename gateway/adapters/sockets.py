"""A worker's event socket: connected again whenever it breaks, and under the old client_id too while that is needed."""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp

from gateway.domain.ports import Hearing

log = logging.getLogger(__name__)

_PING_EVERY = 20.0
_RETRY = 1.0
_FLAGS = '{"type": "feature_flags", "data": {"supports_preview_metadata": true}}'
_BROKEN = (aiohttp.ClientError, OSError, TimeoutError)


class WorkerSockets:
    """EventSource over aiohttp. Each connection has a client_id of its own: a worker that is connected to twice
    under one goes deaf on both (contract 4.1)."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    @asynccontextmanager
    async def listen(self, url: str, hearing: Hearing, older: str) -> AsyncIterator[Listener]:
        listener = Listener(self._session, url, hearing)
        tasks = [asyncio.create_task(listener.run(), name=f"listen {url}")]
        if older:
            tasks.append(asyncio.create_task(listener.follow(older), name=f"listen {url} as before"))
        try:
            yield listener
        finally:
            for task in (*tasks, *listener.followers):
                task.cancel()
            await asyncio.gather(*tasks, *listener.followers, return_exceptions=True)


class Listener:
    """The connection to one worker. `sid` is the client_id to post with: empty while there is none."""

    def __init__(self, session: aiohttp.ClientSession, url: str, hearing: Hearing) -> None:
        self._session = session
        self._url = url
        self._hearing = hearing
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self.followers: set[asyncio.Task[None]] = set()
        self.sid = ""

    async def renew(self) -> None:
        """This connection is deaf: make another one."""
        if self._socket is not None:
            await self._socket.close()

    async def run(self) -> None:
        while True:
            sid = uuid.uuid4().hex
            with suppress(*_BROKEN):
                await self._connection(sid, main=True)
            self.sid = ""
            self._hearing.lost()
            if self._hearing.needs(sid):
                task = asyncio.create_task(self.follow(sid), name=f"listen {self._url} as before")
                self.followers.add(task)
                task.add_done_callback(self.followers.discard)
            await asyncio.sleep(_RETRY * random.uniform(0.5, 1.5))

    async def follow(self, sid: str) -> None:
        """Hear the rest of what was posted under a client_id whose connection is gone."""
        while self._hearing.needs(sid):
            with suppress(*_BROKEN):
                await self._connection(sid, main=False)
            await asyncio.sleep(_RETRY)

    async def _connection(self, sid: str, *, main: bool) -> None:
        address = f"{self._url}/ws?clientId={sid}"
        async with self._session.ws_connect(address, heartbeat=_PING_EVERY, max_msg_size=0, compress=0) as socket:
            await socket.send_str(_FLAGS)
            if main:
                self._socket, self.sid = socket, sid
                self._hearing.connected()
            async for message in socket:
                if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                    self._hearing.frame(message.data)
                if not main and not self._hearing.needs(sid):
                    return
