"""A worker's event socket, over which it says at once what polling would find out later."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import aiohttp

log = logging.getLogger(__name__)

_PING_EVERY = 20.0
_RETRY = 1.0
_TELLING = frozenset(("execution_start", "execution_success", "execution_error", "execution_interrupted", "executing"))


class WorkerSockets:
    """EventSource over aiohttp. Each connection has a client_id of its own: a worker that is connected to twice
    under one goes deaf on both (contract 4.1)."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    @asynccontextmanager
    async def listen(self, url: str, heard: Callable[[str | None], None]) -> AsyncIterator[Callable[[], str]]:
        listener = _Listener(self._session, url, heard)
        task = asyncio.create_task(listener.run(), name=f"listen {url}")
        try:
            yield lambda: listener.sid
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


class _Listener:
    def __init__(self, session: aiohttp.ClientSession, url: str, heard: Callable[[str | None], None]) -> None:
        self._session = session
        self._url = url
        self._heard = heard
        self.sid = ""  # of the connection that stands; empty while none does

    async def run(self) -> None:
        while True:
            try:
                await self._connection(uuid.uuid4().hex)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                log.debug("socket of %s: %r", self._url, error)
            self.sid = ""
            self._heard(None)
            await asyncio.sleep(_RETRY * random.uniform(0.5, 1.5))

    async def _connection(self, sid: str) -> None:
        socket_url = f"{self._url}/ws?clientId={sid}"
        async with self._session.ws_connect(
            socket_url, heartbeat=_PING_EVERY, max_msg_size=0, compress=0, autoclose=True
        ) as socket:
            self.sid = sid
            self._heard(None)
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    self._take(message.data)

    def _take(self, text: str) -> None:
        with suppress(ValueError, AttributeError, TypeError):
            event = json.loads(text)
            data = event.get("data") or {}
            if event.get("type") in _TELLING and (event["type"] != "executing" or data.get("node") is None):
                self._heard(data.get("prompt_id"))
