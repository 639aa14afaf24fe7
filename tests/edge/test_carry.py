from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from gateway.domain.errors import GatewayError, WorkerRefused, WorkerSilent
from gateway.domain.ports.relay import Answer, Headers
from gateway.edge.carry import Incoming, Until, carry, target_of
from gateway.edge.cycle import Cycle
from gateway.edge.http import SINK
from tests.servers import serve, until
from tests.wire import connection, read_body, read_head

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(20)]

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("scope", "target"),
    [
        ({"path": "/a/b", "raw_path": b"/a%2Fb", "query_string": b""}, b"/a%2Fb"),
        ({"path": "/a/b", "raw_path": b"/a%2Fb", "query_string": b"x=%2F&&"}, b"/a%2Fb?x=%2F&&"),
        ({"path": "/a/b", "query_string": b""}, b"/a/b"),
    ],
)
def test_the_target_is_what_the_client_sent(scope: dict[str, Any], target: bytes) -> None:
    assert target_of(scope) == target


class Scripted:
    """A worker's answer, piece by piece; an exception in it is raised there, an event waited for."""

    def __init__(self, *pieces: bytes | Exception | asyncio.Event, length: int | None = None) -> None:
        self._pieces = pieces
        self._length = length
        self.asked = asyncio.Event()
        self.left = asyncio.Event()
        self.got = b""

    @asynccontextmanager
    async def open(
        self, url: str, method: str, target: bytes, headers: Headers, body: AsyncIterator[bytes] | None
    ) -> AsyncIterator[Answer]:
        self.asked.set()
        try:
            if body is not None:
                self.got = b"".join([chunk async for chunk in body])
            if self._pieces and isinstance(self._pieces[0], Exception):
                raise self._pieces[0]
            length = [] if self._length is None else [(b"content-length", str(self._length).encode())]
            yield Answer(200, length, self._length, self._chunks())
        finally:
            self.left.set()

    async def _chunks(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            if isinstance(piece, asyncio.Event):
                await piece.wait()
            else:
                yield piece


class Carrying:
    """An app that carries each request by this wire; what became of the last one."""

    def __init__(self, wire: Scripted) -> None:
        self._wire = wire
        self.ended = asyncio.Event()
        self.raised: BaseException | None = None
        self.task: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.task = asyncio.current_task()
        try:
            await carry(self._wire, "http://w", target_of(scope), scope, Incoming(scope, receive), send)
            assert self.task is not None
            assert self.task.cancelling() == 0, "whoever cancels it later is not taken for the client"
        except (GatewayError, asyncio.CancelledError) as error:
            self.raised = error
        self.ended.set()


@pytest.mark.parametrize("length", [None, 4, 0])
async def test_an_answer_has_one_end(length: int | None) -> None:
    app = Carrying(Scripted(*([b"ab", b"cd"] if length != 0 else []), length=length))
    async with serve(app, lifespan="off") as url, connection(url) as (reader, writer):
        for _ in range(2):  # more than one end would be in the way of the second
            writer.write(GET)
            assert await read_body(reader, await read_head(reader)) == (b"" if length == 0 else b"abcd")


@pytest.mark.parametrize("length", [None, 4])
async def test_an_answer_that_breaks_off_has_none(length: int | None) -> None:
    app = Carrying(Scripted(b"ab", WorkerSilent("gone"), length=length))
    async with serve(app, lifespan="off") as url, connection(url) as (reader, writer):
        writer.write(GET)
        head = await read_head(reader)
        with pytest.raises(asyncio.IncompleteReadError):
            await read_body(reader, head)
    assert app.raised is None


@pytest.mark.parametrize("failure", [WorkerRefused("no"), WorkerSilent("no")])
async def test_a_failure_before_the_answer_comes_out(failure: Exception) -> None:
    app = Carrying(Scripted(failure))
    async with serve(app, lifespan="off") as url, connection(url) as (reader, writer):
        writer.write(GET)
        assert (await read_head(reader)).status == 500  # the server's own: nothing was answered here
    assert app.raised is failure


@pytest.mark.parametrize("request_", [GET, POST + b"\r\n", POST + b"Content-Length: 3\r\n\r\nabc"])
@pytest.mark.parametrize("pieces", [[], [b"first"]])
async def test_a_client_that_leaves_ends_it_quietly(pieces: list[bytes], request_: bytes) -> None:
    wire = Scripted(*pieces, asyncio.Event())
    app = Carrying(wire)
    async with serve(app, lifespan="off") as url:
        async with connection(url) as (_, writer):
            writer.write(request_)
            await asyncio.wait_for(wire.asked.wait(), 5)
            assert not wire.left.is_set()
        await asyncio.wait_for(wire.left.wait(), 5)
        await asyncio.wait_for(app.ended.wait(), 5)
    assert app.raised is None
    assert wire.got == request_.partition(b"\r\n\r\n")[2]


async def test_a_server_that_stops_is_not_a_client_that_left() -> None:
    wire = Scripted(asyncio.Event())
    app = Carrying(wire)
    async with serve(app, lifespan="off") as url, connection(url) as (_, writer):
        writer.write(GET)
        await asyncio.wait_for(wire.asked.wait(), 5)
        assert app.task is not None
        app.task.cancel()
        await asyncio.wait_for(app.ended.wait(), 5)
    assert isinstance(app.raised, asyncio.CancelledError)
    assert wire.left.is_set()


@pytest.mark.parametrize("request_", [GET, POST + b"\r\n"])
@pytest.mark.parametrize("leaves", ["just before", "just after", "later"])
async def test_a_client_that_leaves_in_the_moment_in_which_it_ends_harms_nothing_after(
    leaves: str, request_: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.edge.carry._QUICK", 0.02)
    last, after = asyncio.Event(), asyncio.Event()
    sinks: list[Cycle] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        sinks.append(scope["extensions"][SINK])
        async with Until(scope):
            await last.wait()
        sinks[0].lost()
        await asyncio.sleep(0.1)
        after.set()

    async with serve(app, lifespan="off") as url, connection(url) as (_, writer):
        writer.write(request_)
        await until(lambda: sinks, "it is asked")
        if leaves == "just before":
            sinks[0].lost()
        last.set()
        if leaves == "just after":
            sinks[0].lost()
        await asyncio.wait_for(after.wait(), 5)


async def test_a_client_that_leaves_within_its_body_is_not_answered() -> None:
    wire = Scripted(b"never")
    app = Carrying(wire)
    async with serve(app, lifespan="off") as url:
        async with connection(url) as (_, writer):
            writer.write(POST + b"Transfer-Encoding: chunked\r\n\r\n4\r\none \r\n")
            await asyncio.wait_for(wire.asked.wait(), 5)
        await asyncio.wait_for(app.ended.wait(), 5)
    assert app.raised is None
    assert wire.got == b""


async def test_whether_a_body_was_touched_is_known() -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"abc"}

    incoming = Incoming({"type": "http", "headers": [(b"content-length", b"3")]}, receive)
    assert incoming.body is not None
    assert not incoming.touched
    assert await anext(incoming.body) == b"abc"
    assert incoming.touched
    with suppress(StopAsyncIteration):
        await anext(incoming.body)
