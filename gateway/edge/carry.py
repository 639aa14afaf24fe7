"""One request carried to one worker, and its answer back, both as streams.

What a client and a worker do at their ends shows at the other at once: a client that leaves closes the worker's
connection, and a worker that dies in the middle of its answer cuts the client's, so that half a file is never taken
for a whole one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType

from starlette.types import Receive, Scope, Send

from gateway.domain.errors import GatewayError
from gateway.domain.ports.relay import Answer, Wire
from gateway.edge.cycle import Cycle
from gateway.edge.headers import has_body
from gateway.edge.http import SINK

_QUICK = 0.25
"""Seconds. What is to be changed somewhere is so long on its way though the client left: its page may have been closed.
And what is answered within them is not worth a task that watches the client, where no server does."""
READS = frozenset({"GET", "HEAD"})
"""Methods that change nothing."""


class ClientGone(GatewayError):
    """Nobody is left to answer."""


class Incoming:
    """A request as it comes in: its body for the worker, and then the news that the client left."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        self.reads = scope["method"] in READS
        self.sink: Cycle | None = scope.get("extensions", {}).get(SINK)
        self.touched = False
        """Whether any of the body was taken, so that it cannot be sent to another worker."""
        self._ended = asyncio.Event() if has_body(scope["headers"]) else None
        self.body = self._body(self._ended) if self._ended is not None else None

    async def _body(self, ended: asyncio.Event) -> AsyncIterator[bytes]:
        self.touched = True
        try:
            while True:
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                if chunk := message.get("body", b""):
                    yield chunk
                if not message.get("more_body", False):
                    return
        finally:
            ended.set()

    async def left(self) -> None:
        """Returns when the client is gone; while the body is being read, its reader sees that first."""
        if self._ended is not None:
            await self._ended.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass


class Until:
    """Cancels the body of the `async with` when the client leaves, and ends quietly then."""

    def __init__(self, incoming: Incoming) -> None:
        self._incoming = incoming
        self._sink = incoming.sink
        """Which tells that by itself."""
        self._timer: asyncio.TimerHandle | None = None
        self._watch: asyncio.Task[None] | None = None
        self._over = False
        self._fired = False

    async def __aenter__(self) -> None:
        self._task = asyncio.current_task()
        if self._sink is not None:
            self._sink.when_gone(self._cancel if self._incoming.reads else self._cancel_soon)
        else:
            self._timer = asyncio.get_running_loop().call_later(_QUICK, self._start)

    def _cancel_soon(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_QUICK, self._cancel)

    def _start(self) -> None:
        self._watch = asyncio.create_task(self._incoming.left(), name="client leaves")
        self._watch.add_done_callback(self._left)

    def _left(self, watch: asyncio.Task[None]) -> None:
        if not watch.cancelled() and watch.exception() is None:
            self._cancel()

    def _cancel(self) -> None:
        if not self._over and self._task is not None:
            self._fired = True
            self._task.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._over = True
        if self._sink is not None:
            self._sink.when_gone(None)
        if self._timer is not None:
            self._timer.cancel()
        if self._watch is not None:
            self._watch.cancel()
        if not self._fired or self._task is None:
            return kind is ClientGone
        return self._task.uncancel() == 0 and kind is asyncio.CancelledError


async def carry(wire: Wire, url: str, target: bytes, scope: Scope, incoming: Incoming, send: Send) -> None:
    """To the worker at `url`. Before the answer begins, WorkerRefused and WorkerSilent come out of here.

    Afterwards a failure ends the response without its end, upon which the server cuts the connection.
    """
    request = wire.open(url, scope["method"], target, scope["headers"], incoming.body)
    async with Until(incoming), request as answer:
        await _answer(answer, incoming.sink, send)


async def _answer(answer: Answer, sink: Cycle | None, send: Send) -> None:
    """By way of the sink where there is one: nothing that stands between looks at a body."""
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    try:
        if sink is not None and answer.pour is not None:
            await answer.pour(sink)
        else:
            left = answer.length
            async for chunk in answer.chunks:
                left = None if left is None else left - len(chunk)
                await send({"type": "http.response.body", "body": chunk, "more_body": left != 0})
                if left == 0:
                    return
    except GatewayError:
        if sink is not None:
            sink.broke_off()
        return
    await send({"type": "http.response.body", "body": b""})


def target_of(scope: Scope) -> bytes:
    """Path and query as the client sent them: `%2F` is no slash."""
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope["query_string"]
    return path + b"?" + query if query else path
