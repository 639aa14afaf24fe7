from __future__ import annotations

import asyncio
import socket
from collections import deque
from urllib.parse import urlsplit

import pytest
from starlette.types import Receive, Scope, Send

from gateway.edge.http import SINK
from tests.servers import serve, until
from tests.wire import ON_BOTH_LOOPS, connection, read_body, read_head

pytestmark = [pytest.mark.anyio, ON_BOTH_LOOPS, pytest.mark.timeout(20)]

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def start(length: int | None) -> dict[str, object]:
    headers = [] if length is None else [(b"content-length", b"%d" % length)]
    return {"type": "http.response.start", "status": 200, "headers": headers}


async def test_before_http_1_1_a_body_of_no_known_length_ends_with_the_connection() -> None:
    """RFC 9112 section 6.1: no chunks for whoever may not know them."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(None))
        scope["extensions"][SINK].write(b"one ")
        await send({"type": "http.response.body", "body": b"two"})

    async with serve(app, lifespan="off") as url, connection(url) as (reader, writer):
        writer.write(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        head = await read_head(reader)
        assert (head.get("transfer-encoding"), head.get("connection")) == (None, "close")
        assert await reader.read() == b"one two"


@pytest.mark.parametrize(("body", "connection_header"), [(b"", "close"), (b"body", None)])
async def test_a_body_that_was_not_asked_for_is_not_waited_for(body: bytes, connection_header: str | None) -> None:
    """A client that was told no before `100 Continue` sends its body or does not: what comes next could be either."""
    there = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await there.wait()
        await send(start(2))
        await send({"type": "http.response.body", "body": b"no"})

    async with serve(app, lifespan="off") as url, connection(url) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n" + body)
        await writer.drain()
        asyncio.get_running_loop().call_later(0.1, there.set)
        head = await read_head(reader)
        assert await read_body(reader, head) == b"no"
        assert head.get("connection") == connection_header


async def test_what_a_closing_connection_still_has_to_send_is_pending() -> None:
    """A sink's feeder uses the memory again otherwise, and this client is sent what others were to get."""
    pending: list[int] = []
    leaving = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        sink = scope["extensions"][SINK]
        await send(start(2**26))
        sink.write(b"x" * 2**25)
        leaving.set()
        await until(lambda: sink.transport.is_closing(), "the client says no more")
        sink.write(b"x")
        pending.append(sink.pending())

    async with serve(app, lifespan="off", log_level="critical") as url:
        parts = urlsplit(url)
        with socket.create_connection((parts.hostname or "", parts.port or 0)) as sock:
            sock.sendall(GET)
            await leaving.wait()
            sock.shutdown(socket.SHUT_WR)
            await until(lambda: pending, "the app has written")
    assert pending[0] > 2**20


@pytest.mark.parametrize("requests", [1, 2, 3])
@pytest.mark.parametrize("left", ["before it is asked", "after that"])
async def test_whoever_wants_to_know_is_told_once_that_the_client_left(requests: int, left: str) -> None:
    """Also where others wait behind this one, whenever they came."""
    told: list[str] = []
    begun, asked = asyncio.Event(), asyncio.Event()
    waiting: list[deque[object]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        waiting.append(scope["extensions"][SINK].transport.get_protocol().pipeline)
        begun.set()
        if left == "before it is asked":
            assert (await receive())["type"] == "http.request"
            assert (await receive())["type"] == "http.disconnect"
        scope["extensions"][SINK].when_gone(lambda: told.append("gone"))
        asked.set()
        await until(lambda: told, "it is told")

    async with serve(app, lifespan="off", log_level="critical") as url:
        async with connection(url) as (_, writer):
            writer.write(GET * min(requests, 2))
            await (begun if left == "before it is asked" else asked).wait()
            writer.write(GET * max(requests - 2, 0))
            await until(lambda: len(waiting[0]) == requests - 1, "all have come")
        await until(lambda: told, "it is told")
        await asyncio.sleep(0.05)
    assert told == ["gone"]


async def test_nobody_is_told_that_a_client_left_who_has_its_answer() -> None:
    told: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["extensions"][SINK].when_gone(lambda: told.append("gone"))
        await send(start(2))
        await send({"type": "http.response.body", "body": b"ok"})

    async with serve(app, lifespan="off") as url:
        async with connection(url) as (reader, writer):
            writer.write(GET)
            assert await read_body(reader, await read_head(reader)) == b"ok"
        await asyncio.sleep(0.05)
    assert told == []
