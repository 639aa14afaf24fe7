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
"""Seconds. What is to be changed somewhere is so long on its way though the client left: its page may be closed."""
READS = frozenset({"GET", "HEAD"})
"""Methods that change nothing."""


class ClientGone(GatewayError):
    """Nobody is left to answer."""


class Incoming:
    """A request's body as it comes in, for the worker."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        self.touched = False
        """Whether any of the body was taken, so that it cannot be sent to another worker."""
        self.body = self._body() if has_body(scope["headers"]) else None

    async def _body(self) -> AsyncIterator[bytes]:
        self.touched = True
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            if chunk := message.get("body", b""):
                yield chunk
            if not message.get("more_body", False):
                return


class Until:
    """Cancels the body of the `async with` when the client leaves, and ends quietly then."""

    def __init__(self, scope: Scope) -> None:
        self._sink: Cycle = scope["extensions"][SINK]
        self._reads = scope["method"] in READS
        self._timer: asyncio.TimerHandle | None = None
        self._fired = False

    async def __aenter__(self) -> None:
        self._task = asyncio.current_task()
        self._sink.when_gone(self._cancel if self._reads else self._cancel_soon)

    def _cancel_soon(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_QUICK, self._cancel)

    def _cancel(self) -> None:
        if self._task is not None:
            self._fired = True
            self._task.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._sink.when_gone(None)
        if self._timer is not None:
            self._timer.cancel()
        if not self._fired or self._task is None:
            return kind is ClientGone
        return self._task.uncancel() == 0 and kind is asyncio.CancelledError


async def carry(wire: Wire, url: str, target: bytes, scope: Scope, incoming: Incoming, send: Send) -> None:
    """To the worker at `url`. Before the answer begins, WorkerRefused and WorkerSilent come out of here.

    Afterwards a failure ends the response without its end, upon which the server cuts the connection.
    """
    request = wire.open(url, scope["method"], target, scope["headers"], incoming.body)
    async with Until(scope), request as answer:
        await _answer(answer, scope["extensions"][SINK], send)


async def _answer(answer: Answer, sink: Cycle, send: Send) -> None:
    """By way of the sink where the wire can pour: nothing that stands between looks at a body."""
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    try:
        if answer.pour is not None:
            await answer.pour(sink)
        else:
            left = answer.length
            async for chunk in answer.chunks:
                left = None if left is None else left - len(chunk)
                await send({"type": "http.response.body", "body": chunk, "more_body": left != 0})
                if left == 0:
                    return
    except GatewayError:
        sink.broke_off()
        return
    await send({"type": "http.response.body", "body": b""})


def target_of(scope: Scope) -> bytes:
    """Path and query as the client sent them: `%2F` is no slash."""
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope["query_string"]
    return path + b"?" + query if query else path
