"""A worker's event socket: connected again whenever it breaks, and under the old client_id too while that is needed."""

from __future__ import annotations

import asyncio
import logging
import random
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import aiohttp

from gateway.domain.ports import Hearing

log = logging.getLogger(__name__)

_PING_EVERY = 20.0
_RETRY = 1.0
_HANDSHAKE = 10.0
_JOINING = 2.0
_CLOSING = 1.0
_LINGER = 5.0
"""Seconds in which prompts may still be posted under a client_id whose connection is gone."""
_FLAGS = '{"type": "feature_flags", "data": {"supports_preview_metadata": true}}'
_BROKEN = (aiohttp.ClientError, OSError, TimeoutError)
_TEXT = b"\x00\x00\x00\x03"


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
        self._ears: list[Counter[str | bytes]] = []
        self._hurry = asyncio.Event()
        self._there = asyncio.Event()  # set while `sid` is
        self.followers: set[asyncio.Task[None]] = set()
        self.sid = ""

    async def joined(self) -> str:
        self._hurry.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(_JOINING):
                await self._there.wait()
        return self.sid

    async def renew(self) -> None:
        """This connection is deaf: make another one."""
        if self._socket is not None:
            await self._socket.close()

    async def run(self) -> None:
        while not _cancelled():
            sid, began = uuid.uuid4().hex, time.monotonic()
            self._hurry.clear()  # what is asked for from now on, this attempt may come too early for
            with suppress(*_BROKEN):
                await self._connection(sid, main=True)
            was_there = bool(self.sid)
            self.sid = ""
            self._there.clear()
            self._hearing.lost()
            if was_there:
                task = asyncio.create_task(self.follow(sid), name=f"listen {self._url} as before")
                self.followers.add(task)
                task.add_done_callback(self.followers.discard)
            if not was_there or time.monotonic() - began < _RETRY:
                await self._rest()

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_RETRY * random.uniform(0.5, 1.5)):
                await self._hurry.wait()

    async def follow(self, sid: str) -> None:
        """Hear the rest of what was posted under a client_id whose connection is gone."""
        until = time.monotonic() + _LINGER
        while not _cancelled() and (time.monotonic() < until or self._hearing.needs(sid)):
            with suppress(*_BROKEN):
                await self._connection(sid, main=False, until=until)
            await asyncio.sleep(_RETRY)

    async def _connection(self, sid: str, *, main: bool, until: float = 0.0) -> None:
        """`until` is for how long one that is not the main one stays in any case."""
        async with await self._connected(sid) as socket:
            await socket.send_str(_FLAGS)
            if main:
                self._socket, self.sid = socket, sid
                self._there.set()
                self._hearing.connected()
            with self._listening() as ear:
                async for message in socket:
                    if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                        self._hear(ear, message.data)
                    if not main and time.monotonic() > until and not self._hearing.needs(sid):
                        return

    async def _connected(self, sid: str) -> aiohttp.ClientWebSocketResponse:
        async with asyncio.timeout(_HANDSHAKE):
            return await self._session.ws_connect(
                f"{self._url}/ws?clientId={sid}",
                heartbeat=_PING_EVERY,
                max_msg_size=0,
                compress=0,
                timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSING),
            )

    @contextmanager
    def _listening(self) -> Iterator[Counter[str | bytes]]:
        """How often this connection has heard each broadcast since another one came or went."""
        ear: Counter[str | bytes] = Counter()
        self._ears.append(ear)
        self._forget()
        try:
            yield ear
        finally:
            self._ears = [other for other in self._ears if other is not ear]
            self._forget()

    def _forget(self) -> None:
        for ear in self._ears:
            ear.clear()

    def _hear(self, ear: Counter[str | bytes], raw: str | bytes) -> None:
        """A worker says to each of its sockets what it says to all; it is passed on once."""
        if len(self._ears) > 1 and _may_be_for_all(raw):
            ear[raw] += 1
            if any(other[raw] >= ear[raw] for other in self._ears if other is not ear):
                return
        self._hearing.frame(raw)


def _cancelled() -> bool:
    """A connection that is cancelled in the middle may come out as broken instead."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _may_be_for_all(raw: str | bytes) -> bool:
    return '"prompt_id"' not in raw if isinstance(raw, str) else raw.startswith(_TEXT)
