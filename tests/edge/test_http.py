from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import time
import weakref
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.edge.cycle import Cycle
from gateway.edge.http import SINK, Http
from tests.servers import serve, until
from tests.wire import ON_BOTH_LOOPS, connection, exchange, read_body, read_head

pytestmark = [pytest.mark.anyio, ON_BOTH_LOOPS, pytest.mark.timeout(20)]

GET = b"GET /a%20b?c=%2F HTTP/1.1\r\nHost: x\r\n\r\n"
MIB = 2**20


def saying(*messages: dict[str, Any], seen: list[Scope] | None = None) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if seen is not None:
            seen.append(scope)
        for message in messages:
            await send(message)

    return app


def start(*headers: tuple[bytes, bytes], status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(data: bytes = b"", *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


def length(size: int) -> tuple[bytes, bytes]:
    return b"content-length", str(size).encode()


async def raw(url: str, *requests: bytes) -> bytes:
    """All that comes for requests of which the last ends the connection."""
    async with connection(url) as (reader, writer):
        writer.write(b"".join(requests))
        return await reader.read()


LAST = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


async def test_what_a_request_is() -> None:
    seen: list[Scope] = []
    async with serve(saying(start(length(0)), body(), seen=seen), lifespan="off", server_header=False) as url:
        await exchange(url, GET)
        await exchange(url, b"GET http://else/p?q#f HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nx-a: 2\r\n\r\n")
    assert [(one["path"], one["raw_path"], one["query_string"]) for one in seen] == [
        ("/a b", b"/a%20b", b"c=%2F"),
        ("/p", b"/p", b"q"),
    ]
    assert seen[1]["headers"] == [(b"host", b"x"), (b"x-a", b"1"), (b"x-a", b"2")]
    assert seen[0]["headers"] is not seen[1]["headers"]
    assert (seen[0]["method"], seen[0]["http_version"], seen[0]["scheme"]) == ("GET", "1.1", "http")


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([start(length(2)), body(b"ok")], b"content-length: 2\r\n\r\nok"),
        ([start(length(2)), body(b"o", more=True), body(b"k")], b"content-length: 2\r\n\r\nok"),
        ([start(), body(b"ok")], b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        ([start(), body(b"o", more=True), body(b"k", more=True), body()], b"1\r\no\r\n1\r\nk\r\n0\r\n\r\n"),
        ([start(), body()], b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        ([start(length(0), status=204), body()], b"content-length: 0\r\n\r\n"),
        ([start(status=304), body()], b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    ],
)
async def test_how_an_answer_is_framed(messages: list[dict[str, Any]], expected: bytes) -> None:
    plain: dict[str, Any] = {"lifespan": "off", "server_header": False, "date_header": False}
    async with serve(saying(*messages), **plain) as url:
        found = (await raw(url, LAST)).replace(b"connection: close\r\n", b"")
        twice = await raw(url, GET, LAST)
    assert found.startswith(b"HTTP/1.1 ")
    assert found.endswith(expected)
    assert twice.count(b"HTTP/1.1 ") == 2


async def test_a_head_request_gets_the_head_alone() -> None:
    for messages in ([start(length(2)), body(b"ok")], [start(), body(b"ok")]):
        async with serve(saying(*messages), lifespan="off") as url:
            assert (await raw(url, LAST.replace(b"GET", b"HEAD"))).endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "messages",
    [
        [start(length(3)), body(b"ok")],
        [start(length(1)), body(b"ok")],
        [start((b"x", b"a\r\nb: c"))],
        [start((b"x y", b"a"))],
        [body(b"ok")],
        [start(length(2)), body(b"ok", more=True), start()],
        [start(length(2))],
    ],
)
@pytest.mark.filterwarnings("ignore")
async def test_what_is_no_answer_cuts_the_connection_or_is_a_500(messages: list[dict[str, Any]]) -> None:
    async with serve(saying(*messages), lifespan="off", log_level="critical") as url:
        found = await raw(url, GET)
    assert found.startswith(b"HTTP/1.1 500") or not found.endswith(b"\r\n0\r\n\r\n")
    assert b"\r\nb: c" not in found


async def test_the_head_does_not_wait_for_the_body() -> None:
    go_on = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(length(2)))
        await go_on.wait()
        await send(body(b"ok"))

    async with serve(app, lifespan="off") as url, connection(url) as (reader, writer):
        writer.write(GET)
        head = await read_head(reader)
        go_on.set()
        assert await read_body(reader, head) == b"ok"


async def test_one_timer_ends_what_is_idle_and_nothing_else() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(1.2 if scope["path"] == "/slow" else 0)
        await send(start(length(2)))
        await send(body(b"ok"))

    async with serve(app, lifespan="off", timeout_keep_alive=1) as url, connection(url) as (reader, writer):
        for path in (b"/a", b"/slow", b"/b"):
            writer.write(GET.replace(b"/a", path, 1))
            assert await read_body(reader, await read_head(reader)) == b"ok"
        assert await asyncio.wait_for(reader.read(), 5) == b""


async def said_ok(scope: Scope, receive: Receive, send: Send) -> None:
    await send(start(length(2)))
    await send(body(b"ok"))


async def test_who_asks_just_as_it_counts_as_idle_is_answered() -> None:
    loop = asyncio.get_running_loop()
    async with serve(said_ok, lifespan="off", timeout_keep_alive=1) as url, connection(url) as (reader, writer):
        client = writer.get_extra_info("socket")
        idle_at = loop.time() + 1.0
        loop.call_at(idle_at - 0.2, lambda: time.sleep(0.4))  # so that the next two come with no look at what came
        loop.call_at(idle_at - 0.1, lambda: os.write(client.fileno(), GET))
        assert await read_body(reader, await read_head(reader)) == b"ok"
        assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_what_came_before_the_server_ends_is_answered() -> None:
    protocols: list[Http] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        protocols.append(scope["extensions"][SINK].transport.get_protocol())
        await said_ok(scope, receive, send)

    async with serve(app, lifespan="off") as url, connection(url) as (reader, writer):
        writer.write(GET)
        await read_body(reader, await read_head(reader))
        os.write(writer.get_extra_info("socket").fileno(), GET)
        protocols[0].shutdown()
        head = await read_head(reader)
        assert head.get("connection") == "close"
        assert await read_body(reader, head) == b"ok"
        assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_what_was_answered_is_not_left_to_the_garbage_collector() -> None:
    asked: list[weakref.ref[Any]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(weakref.ref(scope["extensions"][SINK]))
        await send(start(length(2)))
        await send(body(b"ok"))

    gc.disable()
    try:
        async with serve(app, lifespan="off") as url, connection(url) as (reader, writer):
            for _ in range(3):
                writer.write(GET)
                assert await read_body(reader, await read_head(reader)) == b"ok"
            assert [ref() is None for ref in asked] == [True, True, False], "the connection has the last one still"
    finally:
        gc.enable()


class Spring:
    """Writes to the sink until it is full, then as it is told to."""

    def __init__(self, size: int) -> None:
        self.left = size
        self.full = asyncio.Event()
        self.over = asyncio.Event()
        self.gone = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sink = scope["extensions"][SINK]
        await send(start(length(self.left)))
        again = asyncio.Event()
        stopped = False

        def pace(stop: bool) -> None:
            nonlocal stopped
            stopped = stop
            (self.full if stop else again).set()

        sink.fed_by(pace)
        block = memoryview(b"x" * MIB)
        while self.left:
            while stopped:
                again.clear()
                await again.wait()
            sink.write(block[: self.left])
            self.left -= min(self.left, MIB)
            if sink.disconnected:
                await send(body())  # no error, though it is not the end of what was announced
                self.gone.set()
                return
        sink.fed_by(None)
        await send(body())
        self.over.set()


def unread(url: str, requests: bytes = GET) -> socket.socket:
    parts = urlsplit(url)
    sock = socket.create_connection((parts.hostname or "", parts.port or 0))
    sock.sendall(requests)
    return sock


async def test_a_sink_says_when_it_is_full_and_when_there_is_room() -> None:
    spring = Spring(64 * MIB)
    async with serve(spring, lifespan="off") as url:
        with unread(url) as sock:
            await asyncio.wait_for(spring.full.wait(), 5)
            await asyncio.sleep(0.1)
            assert spring.left > 32 * MIB, "the rest waits where it comes from"
            assert await asyncio.to_thread(_drained, sock, 64 * MIB) >= 64 * MIB
            await asyncio.wait_for(spring.over.wait(), 5)


def _drained(sock: socket.socket, size: int) -> int:
    got = 0
    while got < size and (data := sock.recv(MIB)):
        got += len(data)
    return got


async def test_whoever_feeds_a_client_that_left_is_told_to_go_on() -> None:
    spring = Spring(64 * MIB)
    async with serve(spring, lifespan="off") as url:
        with unread(url):
            await asyncio.wait_for(spring.full.wait(), 5)
        await asyncio.wait_for(spring.gone.wait(), 5)


async def test_a_chunked_body_by_the_sink() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        for piece in (b"", b"one", b"", memoryview(b"two")):
            scope["extensions"][SINK].write(piece)
        await send(body())

    async with serve(app, lifespan="off") as url:
        assert (await raw(url, LAST)).endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")


async def test_a_request_that_waits_does_not_hide_that_the_client_reads_too_slowly() -> None:
    spring = Spring(64 * MIB)
    async with serve(spring, lifespan="off", log_level="critical") as url:
        with unread(url, GET + GET):
            await asyncio.wait_for(spring.full.wait(), 5)
            await asyncio.sleep(0.1)
            assert spring.left > 32 * MIB
        await asyncio.wait_for(spring.gone.wait(), 5)


async def test_requests_that_wait_are_bounded() -> None:
    turns = asyncio.Semaphore(0)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await turns.acquire()
        await send(start(length(0)))
        await send(body())

    def waiting() -> int:
        return sum(isinstance(one, Cycle) for one in gc.get_objects())

    async with serve(app, lifespan="off", log_level="critical") as url, connection(url) as (_, writer):
        writer.write(GET * 2**17)
        await until(waiting, "the first has come")
        await asyncio.sleep(0.1)
        at_first = waiting()
        for _ in range(10):
            turns.release()
            await asyncio.sleep(0.01)
        assert waiting() <= at_first, "those that are answered are not followed by more than they were"
        writer.transport.abort()
        for _ in range(100):
            turns.release()


async def test_whose_turn_it_is_hears_that_the_client_left() -> None:
    heard: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "http.request"
        heard.append((await receive())["type"])

    async with serve(app, lifespan="off", log_level="critical") as url:
        async with connection(url) as (_, writer):
            writer.write(GET + GET)
            await writer.drain()
        await until(lambda: heard == ["http.disconnect"], "it is heard")


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    found, more = b"", True
    while more:
        message = await receive()
        found, more = found + message["body"], message["more_body"]
    found += b"".join(b" " + name for name, _ in scope["headers"])
    await send(start(length(len(found))))
    await send(body(found))


UPGRADE = b"Connection: upgrade, x\r\nUpgrade: "


async def test_a_wish_for_another_protocol_is_passed_over() -> None:
    """As Java's client sends it with each first request; RFC 9110 section 7.8."""
    post = b"POST / HTTP/1.1\r\n" + UPGRADE + b"h2c\r\nContent-Length: 4\r\n\r\nbody"
    async with serve(echo, lifespan="off") as url, connection(url) as (reader, writer):
        for _ in range(2):
            writer.write(post + GET)
            assert await read_body(reader, await read_head(reader)) == b"body connection content-length"
            assert await read_body(reader, await read_head(reader)) == b" host"


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /ws HTTP/1.1\r\n" + UPGRADE + b"websocket\r\nSec-WebSocket-Version: 13\r\n\r\n",
        b"CONNECT /x HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 2**17 + b"\r\n\r\n",
        b"GET /" + b"x" * 2**17,
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"x" * 2**17,
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * 2**17,
    ],
)
async def test_what_is_no_request_or_has_no_end_is_refused(request_: bytes) -> None:
    async with serve(echo, lifespan="off", log_level="critical") as url, connection(url) as (reader, writer):
        with contextlib.suppress(ConnectionError):  # it comes before the answer while we are still sending
            for at in range(0, len(request_), 2**14):
                await writer.drain()
                writer.write(request_[at : at + 2**14])
                await asyncio.sleep(0.001)
            assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    "after",
    [
        b"no HTTP\r\n\r\n",
        GET + b"no HTTP\r\n\r\n",
        b"GET /ws HTTP/1.1\r\n" + UPGRADE + b"websocket\r\n\r\n",
    ],
    ids=["no HTTP", "no HTTP after a request that waits", "a WebSocket"],
)
async def test_an_answer_that_has_begun_takes_up_nothing_else(after: bytes) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(length(1000)))
        await send(body(b"x", more=True))
        await receive()
        await receive()

    async with serve(app, lifespan="off", log_level="critical") as url, connection(url) as (reader, writer):
        writer.write(GET)
        await read_head(reader)
        writer.write(after)
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() in (b"", b"x")


async def test_trailers_are_no_headers() -> None:
    post = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX-Gateway-Worker: b\r\n\r\n"
    async with serve(echo, lifespan="off") as url:
        assert (await exchange(url, post))[1] == b"body transfer-encoding"


async def test_a_connection_without_a_request_is_not_kept_for_ever() -> None:
    async with serve(echo, lifespan="off", timeout_keep_alive=1) as url, connection(url) as (reader, writer):
        writer.write(b"GET / HT")
        assert await asyncio.wait_for(reader.read(), 5) == b""


def large(size: int, protocols: list[Http] | None = None) -> ASGIApp:
    """Writes all of it at once; `protocols` are of the connections that asked."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if protocols is not None:
            protocols.append(scope["extensions"][SINK].transport.get_protocol())
        await send(start(length(size)))
        await send(body(b"x" * size))

    return app


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.edge.http._STALLED", 0.4)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("parts", [1, 2], ids=["the answer is over", "its end waits"])
async def test_who_takes_nothing_of_an_answer_is_cut_off(parts: int) -> None:
    transports: list[asyncio.Transport] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        transports.append(scope["extensions"][SINK].transport)
        await send(start(length(32 * MIB * parts)))  # more than the kernel takes
        for number in range(parts):
            await send(body(b"x" * 32 * MIB, more=number + 1 < parts))

    async with serve(app, lifespan="off", timeout_keep_alive=1) as url:
        with unread(url) as sock:
            await until(lambda: transports and transports[0].is_closing(), "it is cut off")
            with pytest.raises(ConnectionResetError):  # and the kernel keeps nothing for it
                await asyncio.to_thread(_drained, sock, 32 * MIB * parts)


@pytest.mark.usefixtures("impatient")
async def test_asking_for_more_is_not_taking() -> None:
    async with serve(large(64 * MIB), lifespan="off", timeout_keep_alive=1) as url, connection(url) as (reader, writer):
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(GET + b"POST /next HTTP/1.1\r\n")
        for _ in range(100):
            await asyncio.sleep(0.1)
            writer.write(b"a: b\r\n")
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            if writer.is_closing():
                break
        assert writer.is_closing()


@pytest.mark.usefixtures("impatient")
async def test_who_takes_little_at_a_time_gets_all() -> None:
    async with serve(large(2**22), lifespan="off", timeout_keep_alive=1) as url, connection(url) as (reader, writer):
        writer.write(GET)
        head = await read_head(reader)
        got = 0
        while got < 2**22 - 2**20:
            got += len(await reader.readexactly(2**18))
            await asyncio.sleep(0.15)
        rest = await reader.readexactly(2**22 - got)
    assert head.status == 200
    assert rest.count(b"x") == 2**22 - got


async def test_what_the_kernel_holds_is_not_taken_yet_and_moves_a_little_at_a_time() -> None:
    """It asks for more only when a third of its megabytes has gone: minutes, for a slow client."""
    protocols: list[Http] = []

    def looked(http: Http) -> object:
        assert not http._is_stalled()
        return http._moved

    async with serve(large(32 * MIB, protocols), lifespan="off") as url:
        parts = urlsplit(url)
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**14)
            sock.connect((parts.hostname, parts.port))
            sock.sendall(GET)
            (http,) = await until(lambda: protocols, "it is asked")
            await until(lambda: http.cycle.response_complete, "all is written")
            before = None
            while (seen := looked(http)) != before:  # until all is full
                before = seen
                await asyncio.sleep(0.05)
            assert await asyncio.to_thread(_drained, sock, 2**14) >= 2**14
            await until(lambda: looked(http) != before, "that is seen")
            http.transport.abort()


async def test_a_connection_is_idle_once_its_answer_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not since it was written: the next request would find it closed."""
    protocols: list[Http] = []
    async with serve(large(32 * MIB, protocols), lifespan="off", timeout_keep_alive=1) as url:
        with unread(url) as sock:
            (http,) = await until(lambda: protocols, "it is asked")
            await until(lambda: http.cycle.response_complete, "all is written")
            http._idle_since -= 1000
            http._idle.cancel()
            http._look()
            assert await asyncio.to_thread(_drained, sock, 32 * MIB) >= 32 * MIB
            http._idle.cancel()
            http._look()
            assert not http.transport.is_closing()


@pytest.mark.usefixtures("impatient")
async def test_who_stops_in_the_middle_of_its_body_is_cut_off() -> None:
    heard: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] == "http.request":
            heard.append(message["body"].decode())
        heard.append(message["type"])

    async with serve(app, lifespan="off", timeout_keep_alive=1) as url, connection(url) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf")
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 10)
    assert (heard[0], heard[-1]) == ("half", "http.disconnect")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("request_", [GET, b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"])
async def test_who_waits_for_us_is_not_cut_off(request_: bytes) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(1.2)  # three times as long as is allowed to stall
        await send(start(length(2)))
        await send(body(b"ok"))

    async with serve(app, lifespan="off", timeout_keep_alive=1) as url, connection(url) as (reader, writer):
        writer.write(request_)
        assert await read_body(reader, await read_head(reader)) == b"ok"
