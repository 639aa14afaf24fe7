from __future__ import annotations

import asyncio

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route, Router, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from gateway.domain.door import Door
from gateway.edge.middleware import BodyCap, Doorkeeper, Timing
from gateway.edge.passthrough import Passthrough
from tests.edge.farm import Farm, gateway, up
from tests.servers import serve, until
from tests.wire import connection, exchange, read_body, read_chunk, read_head, worker

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(20)]

SOCKET = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


def request(line: str, *headers: str, body: bytes = b"") -> bytes:
    return ("\r\n".join([f"{line} HTTP/1.1", *headers]) + "\r\n\r\n").encode() + body


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hi", headers={"Access-Control-Allow-Origin": "http://worker"})


async def length(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


async def socket(ws: WebSocket) -> None:
    await ws.accept()
    await ws.close()


def routes() -> Router:
    return Router(
        routes=[
            Route("/interrupt", hello),
            Route("/things/{name}", hello),
            Route("/length", length, methods=["POST"]),
            WebSocketRoute("/ws", socket),
        ],
    )


LOCAL = "Host: 127.0.0.1:8188"
EVIL = "Origin: http://evil.example"


@pytest.mark.parametrize("path", ["/interrupt", "/nowhere", "/api/x"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize("lie", [EVIL, "Sec-Fetch-Site: cross-site"])
async def test_the_door_stands_before_every_path(method: str, path: str, lie: str) -> None:
    async with serve(Doorkeeper(routes(), Door())) as url:
        head, body = await exchange(url, request(f"{method} {path}", LOCAL, lie))
    assert (head.status, body, head.get("content-length")) == (403, b"", "0")


async def test_a_socket_is_refused_before_it_opens() -> None:
    async with serve(Doorkeeper(routes(), Door())) as url:
        head, body = await exchange(url, request("GET /ws", LOCAL, EVIL, *SOCKET))
        assert (head.status, body) == (403, b"")
        head, _ = await exchange(url, request("GET /ws", LOCAL, "Origin: http://127.0.0.1:8188", *SOCKET))
        assert head.status == 101


async def test_options_is_answered_on_any_path() -> None:
    async with serve(Doorkeeper(routes(), Door())) as url:
        head, body = await exchange(url, request("OPTIONS /anything/at/all", LOCAL))
    assert (head.status, body, head.get("content-length"), head.get("content-type")) == (200, b"", "0", None)


async def test_pages_of_listed_origins_may_read() -> None:
    async with serve(Doorkeeper(routes(), Door(["https://ui.example"]))) as url:
        for line in ("GET /interrupt", "GET /nowhere", "OPTIONS /prompt"):
            head, _ = await exchange(url, request(line, LOCAL, "Origin: https://ui.example"))
            allowed = [value for name, value in head.headers if name == "access-control-allow-origin"]
            assert allowed == ["https://ui.example"]
            assert head.get("access-control-allow-credentials") == "true"
        head, _ = await exchange(url, request("GET /interrupt", LOCAL))
        assert head.get("access-control-allow-methods") is None


TOO_LARGE = b"Maximum request body size 10 exceeded."


async def test_a_body_that_says_it_is_too_large_is_not_read() -> None:
    async with serve(BodyCap(routes(), 10)) as url, connection(url) as (reader, writer):
        writer.write(request("POST /length", LOCAL, "Content-Length: 11", "Expect: 100-continue"))
        head = await read_head(reader)
        assert (head.status, head.get("content-type")) == (413, "text/plain; charset=utf-8")
        assert await read_body(reader, head) == TOO_LARGE


async def test_the_largest_body_is_let_in() -> None:
    async with serve(BodyCap(routes(), 10)) as url:
        for framing, body in (
            ("Content-Length: 10", b"x" * 10),
            ("Transfer-Encoding: chunked", b"a\r\n0123456789\r\n0\r\n\r\n"),
        ):
            head, said = await exchange(url, request("POST /length", LOCAL, framing, body=body))
            assert (head.status, said) == (200, b"10")


async def test_a_body_of_unknown_length_is_counted() -> None:
    async with serve(BodyCap(routes(), 10)) as url:
        chunks = b"6\r\n012345\r\n" * 2 + b"0\r\n\r\n"
        head, said = await exchange(url, request("POST /length", LOCAL, "Transfer-Encoding: chunked", body=chunks))
    assert (head.status, said) == (413, TOO_LARGE)


async def test_a_refused_body_leaves_the_connection_usable() -> None:
    async with serve(BodyCap(routes(), 10)) as url, connection(url) as (reader, writer):
        writer.write(request("POST /length", LOCAL, "Content-Length: 1000000", body=b"x" * 1_000_000))
        head = await read_head(reader)
        assert (head.status, await read_body(reader, head)) == (413, TOO_LARGE)
        writer.write(request("POST /length", LOCAL, "Content-Length: 3", body=b"abc"))
        head = await read_head(reader)
        assert (head.status, await read_body(reader, head)) == (200, b"3")


async def test_a_streamed_body_that_grows_too_large_is_cut_off_at_the_worker() -> None:
    begun, cut = asyncio.Event(), asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        assert await read_chunk(reader) == b"012345"
        begun.set()
        assert await reader.read() == b""
        cut.set()

    async with worker(handler) as a, gateway(lambda wire: BodyCap(Passthrough(wire, Farm(up("a", a))), 10)) as url:
        async with connection(url) as (reader, writer):
            writer.write(request("POST /up", LOCAL, "Transfer-Encoding: chunked", body=b"6\r\n012345\r\n"))
            await asyncio.wait_for(begun.wait(), 5)
            writer.write(b"6\r\n012345\r\n")
            head = await read_head(reader)
            assert (head.status, await read_body(reader, head)) == (413, TOO_LARGE)
        await asyncio.wait_for(cut.wait(), 5)


async def test_requests_are_timed_by_route_to_their_last_byte() -> None:
    seen: list[tuple[str, float]] = []
    release = asyncio.Event()

    async def slow(request: Request) -> StreamingResponse:
        async def body() -> object:
            yield b"first"
            await release.wait()
            yield b"last"

        return StreamingResponse(body())  # type: ignore[arg-type]

    app = routes()
    app.routes.append(Route("/slow", slow))
    timed: ASGIApp = Timing(app, lambda route, seconds: seen.append((route, seconds)))
    async with serve(timed) as url:
        for path in ("/things/a", "/things/b", "/nowhere"):
            await exchange(url, request(f"GET {path}", LOCAL))
        await until(lambda: len(seen) == 3, "three are timed")
        assert [route for route, _ in seen] == ["/things/{name}", "/things/{name}", "unmatched"]
        assert all(0 < seconds < 5 for _, seconds in seen)
        async with connection(url) as (reader, writer):
            writer.write(request("GET /slow", LOCAL))
            await read_head(reader)
            assert await read_chunk(reader) == b"first"
            assert len(seen) == 3
            release.set()
            assert await read_chunk(reader) == b"last"
        assert await until(lambda: seen[3:], "the slow one is timed") == [("/slow", seen[3][1])]
