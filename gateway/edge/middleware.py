"""What every request passes before the routes: the door, the size of its body, the clock. Raw ASGI, so all streams.

Wrap them in this order, outermost first: Timing, Doorkeeper, BodyCap. What decides and then hands on returns what it
handed on to, as the table of routes does: a coroutine of its own would be resumed at each step of the request.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.domain.door import Door, Refused
from gateway.domain.errors import BodyTooLarge
from gateway.edge.headers import RawHeaders, content_length, has_body

log = logging.getLogger(__name__)

_EMPTY = [(b"content-length", b"0")]


class Doorkeeper:
    """Asks the door on every path; refused is an empty 403, and a socket is refused before it is accepted.

    Answers OPTIONS on any path with an empty 200, as ComfyUI's middleware does (recording static.json).
    """

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._door = door
        self._of_no_origin = door.decide(host=None, origin=None, site=None)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] not in ("http", "websocket"):
            return self._app(scope, receive, send)
        verdict = self._of_no_origin
        for name, _ in scope["headers"]:
            if name in _ASKED_ABOUT:
                verdict = self._door.decide(**_said_of_origin(scope["headers"]))
                break
        if isinstance(verdict, Refused):
            log.warning("refused %s %s: %s", scope.get("method", "socket"), scope["path"], verdict.reason)
            return _refuse(scope, receive, send)
        if verdict.headers and scope["type"] == "http":
            send = _adding(send, [(n.lower().encode(), v.encode("latin-1")) for n, v in verdict.headers])
        if scope.get("method") == "OPTIONS":
            return _empty(200, send)
        return self._app(scope, receive, send)


class BodyCap:
    """No body over `limit` bytes: 413 in ComfyUI's words, before the body is read if its length is declared.

    A body of unknown length raises BodyTooLarge in the middle of reading it.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http" or not has_body(scope["headers"]):
            return self._app(scope, receive, send)
        if (content_length(scope["headers"]) or 0) > self._limit:
            return _too_large(BodyTooLarge(self._limit), send)
        return self._capped(scope, receive, send)

    async def _capped(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def noting(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, self._counted(receive), noting)
        except BodyTooLarge as exc:
            if started:
                raise
            await _too_large(exc, send)

    def _counted(self, receive: Receive) -> Receive:
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._limit:
                raise BodyTooLarge(self._limit)
            return message

        return counted


class Timing:
    """Tells `observe(route, seconds)` how long each HTTP request took, up to the last byte of its answer.

    `route` is the pattern that matched, never the path, so that there are few of them.
    """

    def __init__(self, app: ASGIApp, observe: Callable[[str, float], None]) -> None:
        self._app = app
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        try:
            await self._app(scope, receive, send)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            self._observe(route, time.perf_counter() - began)


_ASKED_ABOUT = frozenset({b"origin", b"sec-fetch-site"})
"""Without them the door lets everybody in that it lets in at all: programs, and pages that are typed in."""

_OF_ORIGIN = {b"host": "host", b"origin": "origin", b"sec-fetch-site": "site", b"referer": "referer"}


def _said_of_origin(headers: RawHeaders) -> dict[str, str | None]:
    """What the door judges by, as it names it; the first of each header counts."""
    said: dict[str, str | None] = dict.fromkeys(_OF_ORIGIN.values())
    for name, value in headers:
        if (key := _OF_ORIGIN.get(name)) is not None and said[key] is None:
            said[key] = value.decode("latin-1")
    return said


def _adding(send: Send, added: list[tuple[bytes, bytes]]) -> Send:
    """Replaces headers of these names; those of `Vary` add up."""
    replaced = {name for name, _ in added if name != b"vary"}

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [(n, v) for n, v in message.get("headers", ()) if n.lower() not in replaced]
            message = {**message, "headers": [*kept, *added]}
        await send(message)

    return sending


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await _empty(403, send)
    elif "websocket.http.response" in scope.get("extensions", {}):
        await receive()
        await send({"type": "websocket.http.response.start", "status": 403, "headers": _EMPTY})
        await send({"type": "websocket.http.response.body", "body": b""})
    else:
        await receive()
        await send({"type": "websocket.close", "code": 1008})


async def _empty(status: int, send: Send) -> None:
    await send({"type": "http.response.start", "status": status, "headers": _EMPTY})
    await send({"type": "http.response.body", "body": b""})


async def _too_large(exc: BodyTooLarge, send: Send) -> None:
    """The connection is kept: closing it on a client that is still sending would lose the answer."""
    body = str(exc).encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body})
