"""The connections that requests without a body go over: kept while they are of use, bounded for each worker."""

from __future__ import annotations

import asyncio
import socket
import ssl
from base64 import b64encode
from collections import deque
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from aiohttp import AddrInfoType

from gateway.adapters.keepalive import ask_after
from gateway.adapters.pouring import Buffer
from gateway.adapters.upstream import Connection
from gateway.domain.addresses import masked
from gateway.domain.errors import WorkerRefused

_IDLE = 15.0
"""Seconds that an unused connection is kept; aiohttp's server, which ComfyUI's is, keeps it for longer."""
_PROBED = {"TCP_KEEPIDLE": 20, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""An answer may take as long as it likes, but not from a machine that is gone. After seconds of silence, then every so
many, it is asked whether it is there, so often at most."""
_UNACKNOWLEDGED = {"TCP_USER_TIMEOUT": 30_000}
"""Milliseconds until what was sent counts as lost; the kernel would try for a quarter of an hour. Not for bodies, which
a worker may leave lying for longer, as it loads a model."""
_PORTS = {"http": 80, "https": 443}


@dataclass(slots=True)
class Peer:
    """A worker's address, and its connections; `waiting` are those for whom there was none to be had."""

    url: str
    host: str
    port: int
    tls: bool
    prefix: bytes
    named: bytes
    """The headers that say whom the request is for, and who asks if the URL names one."""
    own_credentials: bool
    idle: deque[Connection] = field(default_factory=deque)
    count: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)


def peer(url: str) -> Peer:
    parts = urlsplit(url)
    host, tls = parts.hostname or "", parts.scheme == "https"
    port = parts.port or _PORTS[parts.scheme]
    named = f"Host: {parts.netloc.rpartition('@')[2]}\r\n".encode("idna" if not host.isascii() else "ascii")
    if parts.username is not None:
        secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        named += b"Authorization: Basic " + b64encode(secret) + b"\r\n"
    prefix = parts.path.rstrip("/").encode()
    return Peer(url, host, port, tls, prefix, named, parts.username is not None)


class Pool:
    """Its owner closes it. Raises WorkerRefused where no connection is to be had in `connect_timeout` seconds."""

    def __init__(self, *, per_worker: int, connect_timeout: float) -> None:
        self._per_worker = per_worker
        self._timeout = connect_timeout
        self._peers: dict[str, Peer] = {}
        self._open: set[Connection] = set()
        self._buffer = Buffer()
        self._sweeping: asyncio.TimerHandle | None = None
        self._tls: ssl.SSLContext | None = None

    def peer(self, url: str) -> Peer:
        if (known := self._peers.get(url)) is None:
            known = self._peers[url] = peer(url)
        return known

    async def take(self, peer: Peer, *, fresh: bool = False) -> tuple[Connection, bool]:
        """A connection, and whether it was used before; `fresh`: one that was not."""
        if peer.count >= self._per_worker and not peer.idle:
            await self._turn(peer)
        if not peer.idle:
            return await self._connect(peer), False
        connection = peer.idle.pop()
        if not fresh:
            return connection, True
        connection.abort()  # so that there are not more and more of them
        return await self._connect(peer), False

    def give(self, connection: Connection, peer: Peer) -> None:
        """Back after an answer, whole or not."""
        if connection.release() and connection in self._open:
            connection.idle_since = asyncio.get_running_loop().time()
            peer.idle.append(connection)
            self._sweep_later()
        self._next(peer)

    def close(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
        for connection in list(self._open):
            connection.abort()

    async def _turn(self, peer: Peer) -> None:
        """Wait until there is a connection to be had."""
        try:
            async with asyncio.timeout(self._timeout):
                while peer.count >= self._per_worker and not peer.idle:
                    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    peer.waiting.append(waiter)
                    await waiter
        except TimeoutError as exc:
            raise WorkerRefused(f"{masked(peer.url)} has too many requests at once") from exc
        finally:
            self._next(peer)  # if it was our turn and we did not come

    def _next(self, peer: Peer) -> None:
        """Wake the one that waits longest, if there is a connection for it; who waits no more is forgotten."""
        while peer.waiting and (peer.waiting[0].done() or peer.idle or peer.count < self._per_worker):
            waiter = peer.waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    async def _connect(self, peer: Peer) -> Connection:
        peer.count += 1
        made = False
        try:
            async with asyncio.timeout(self._timeout):
                connection = await self._opened(peer)
            made = True
        except (OSError, TimeoutError, ValueError) as exc:  # the last is for a host that is no name
            raise WorkerRefused(f"{masked(peer.url)} cannot be reached: {exc}") from exc
        finally:
            if not made:
                peer.count -= 1
                self._next(peer)
        return connection

    async def _opened(self, peer: Peer) -> Connection:
        if peer.tls and self._tls is None:
            self._tls = await asyncio.to_thread(ssl.create_default_context)
        options: dict[str, Any] = {"ssl": self._tls} if peer.tls else {}

        def lost(connection: Connection) -> None:
            if connection in self._open:
                self._open.discard(connection)
                peer.count -= 1
            if connection in peer.idle:
                peer.idle.remove(connection)
            self._next(peer)

        connecting = asyncio.get_running_loop().create_connection
        transport, connection = await connecting(
            lambda: Connection(self._buffer, lost), peer.host, peer.port, **options
        )
        self._open.add(connection)
        ask_after(transport.get_extra_info("socket"), _PROBED | _UNACKNOWLEDGED)
        return connection

    def _sweep_later(self) -> None:
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(_IDLE / 3, self._sweep)

    def _sweep(self) -> None:
        """Close what was not used for long; addresses that nobody asks any more are forgotten with that."""
        self._sweeping = None
        before = asyncio.get_running_loop().time() - _IDLE
        for url, peer in list(self._peers.items()):
            for connection in [one for one in peer.idle if one.idle_since < before]:
                peer.idle.remove(connection)
                connection.abort()
            if not peer.count and not peer.waiting:
                del self._peers[url]
        if self._peers:
            self._sweep_later()


def probed(address: AddrInfoType) -> socket.socket:
    """A socket for aiohttp to connect."""
    family, kind, protocol, *_ = address
    sock = socket.socket(family, kind, protocol)
    ask_after(sock, _PROBED)
    return sock
