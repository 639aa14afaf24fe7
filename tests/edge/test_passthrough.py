from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.domain.ports.relay import Answer
from gateway.edge.passthrough import Passthrough
from tests.edge.farm import Farm, down, gateway, told, up
from tests.servers import until
from tests.wire import Handler, Head, answering, connection, exchange, nobody, read_head, worker

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(20)]


def says(name: str, seen: list[Head] | None = None) -> Handler:
    return answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(name), name.encode()), seen=seen)


def request(line: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"{line} HTTP/1.1", "Host: gateway", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


@asynccontextmanager
async def before(handler: Handler) -> AsyncIterator[str]:
    """A gateway before one worker."""
    async with worker(handler) as a, gateway(lambda wire: Passthrough(wire, Farm(up("a", a)))) as url:
        yield url


async def test_everything_goes_to_the_home_worker_untouched() -> None:
    seen: list[Head] = []
    async with worker(says("a", seen)) as a, worker(says("b")) as b:
        farm = Farm(up("a", a), up("b", b))
        async with gateway(lambda wire: Passthrough(wire, farm)) as url:
            for target in ("/userdata/workflows%2Fa.json?x=%2F", "/..%2f..%2fx", "//host/x", "/a//b", "/../x"):
                head, body = await exchange(url, request(f"GET {target}", "Origin: http://evil", "X-Own: 1"))
                assert (head.status, body) == (200, b"a")
                assert seen[-1].target == target
                assert seen[-1].headers == [("host", a.removeprefix("http://")), ("x-own", "1")]


@pytest.mark.parametrize("home", [up, down])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_reads_fall_over_to_another_worker(home: type, method: str) -> None:
    async with worker(says("b")) as b:
        farm = Farm(home("a", nobody()), down("x", nobody()), up("c", nobody()), up("b", b))
        async with gateway(lambda wire: Passthrough(wire, farm)) as url:
            head, body = await exchange(url, request(f"{method} /userdata/x"))
    assert (head.status, body) == (200, b"b" if method == "GET" else b"")


@pytest.mark.parametrize("path", ["/userdata/x", "/api/settings", "/users", "/anything"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_writes_wait_for_the_home_worker(method: str, path: str) -> None:
    seen: list[Head] = []
    async with worker(says("b", seen)) as b:
        farm = Farm(up("a", nobody()), up("b", b))
        async with gateway(lambda wire: Passthrough(wire, farm)) as url:
            head, body = await exchange(url, request(f"{method} {path}", "Content-Length: 2", body=b"hi"))
    assert (head.status, head.get("retry-after")) == (503, "5")
    assert told(body) == ("no_worker", f"worker a is away, and {method} is for it alone; nothing was sent")
    assert seen == []


async def test_writes_are_tried_though_the_home_worker_was_down_a_moment_ago() -> None:
    async with worker(says("a")) as a, gateway(lambda wire: Passthrough(wire, Farm(down("a", a)))) as url:
        _, body = await exchange(url, request("POST /settings", "Content-Length: 2", body=b"{}"))
    assert body == b"a"


async def test_a_worker_that_was_asked_and_died_is_not_asked_again_elsewhere() -> None:
    async def dies(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)

    async with worker(dies) as a, worker(says("b")) as b:
        farm = Farm(up("a", a), up("b", b))
        async with gateway(lambda wire: Passthrough(wire, farm)) as url:
            _, body = await exchange(url, request("POST /x"))
    assert told(body)[0] == "worker_silent"


async def test_a_farm_without_workers_says_so() -> None:
    async with gateway(lambda wire: Passthrough(wire, Farm())) as url:
        _, body = await exchange(url, request("GET /"))
    assert told(body) == ("no_worker", "the farm has no worker yet")


async def test_a_header_names_another_worker() -> None:
    seen: list[Head] = []
    async with worker(says("a")) as a, worker(says("b", seen)) as b:
        farm = Farm(up("a", a), up("b", b), up("c", nobody()))
        async with gateway(lambda wire: Passthrough(wire, farm)) as url:
            _, body = await exchange(url, request("GET /x", "X-Gateway-Worker: b"))
            assert body == b"b"
            assert "x-gateway-worker" not in seen[0].names
            _, body = await exchange(url, request("GET /x", "X-Gateway-Worker: nope"))
            assert told(body) == ("not_found", "no worker is named 'nope'")
            _, body = await exchange(url, request("GET /x", "X-Gateway-Worker: c"))
            assert told(body) == ("no_worker", "cannot be reached at the moment: c")


@pytest.mark.parametrize(
    ("path", "rest"),
    [
        ("/gateway/workers/b/x%2Fy?q=%2F", "/x%2Fy?q=%2F"),
        ("/gateway/workers/b/", "/"),
        ("/gateway/workers/b//x", "//x"),
        ("/gateway/workers/%62/gateway/workers/a/x", "/gateway/workers/a/x"),
    ],
)
async def test_a_path_reaches_one_worker_directly(path: str, rest: str) -> None:
    seen: list[Head] = []
    async with worker(says("a")) as a, worker(says("b", seen)) as b:
        farm = Farm(up("a", a), up("b", b))
        async with gateway(lambda wire: Passthrough(wire, farm)) as url:
            _, body = await exchange(url, request(f"GET {path}"))
            assert (body, seen[0].target) == (b"b", rest)
            _, body = await exchange(url, request("POST /gateway/workers/nope/x"))
            assert told(body)[0] == "not_found"


async def test_a_socket_is_refused_before_it_is_accepted() -> None:
    seen: list[Head] = []
    upgrade = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")
    async with before(says("a", seen)) as url:
        head, _ = await exchange(url, request("GET /ws", *upgrade, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="))
    assert head.status == 403
    assert seen == []


async def test_an_upload_of_100_mb_streams() -> None:
    """The worker has the first bytes before the client sent the last; `Expect` is answered here."""
    size, block = 100 * 2**20, 2**20
    first, got = asyncio.Event(), 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal got
        head = await read_head(reader)
        assert head.get("expect") is None
        assert head.get("content-length") == str(size)
        while got < size:
            got += len(await reader.read(2**18))
            first.set()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with before(handler) as url, connection(url) as (reader, writer):
        writer.write(request("POST /upload", f"Content-Length: {size}", "Expect: 100-continue"))
        assert (await read_head(reader)).status == 100
        writer.write(b"x" * block)
        await asyncio.wait_for(first.wait(), 5)
        for _ in range(size // block - 1):
            writer.write(b"x" * block)
            await writer.drain()
        assert (await read_head(reader)).status == 200
    assert got == size


async def test_a_client_that_leaves_in_the_middle_of_its_body_sends_no_end() -> None:
    begun, cut = asyncio.Event(), asyncio.Event()
    body = b"3\r\nabc\r\n"

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        assert await reader.readexactly(len(body)) == body
        begun.set()
        assert await reader.read() == b""
        cut.set()

    async with before(handler) as url:
        async with connection(url) as (_, writer):
            writer.write(request("PUT /userdata/x", "Transfer-Encoding: chunked", body=body))
            await asyncio.wait_for(begun.wait(), 5)
        await asyncio.wait_for(cut.wait(), 5)


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"])
async def test_a_client_that_leaves_closes_the_workers_connection(sent: bytes) -> None:
    asked, hung_up = asyncio.Event(), asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(sent)
        asked.set()
        assert await reader.read() == b""
        hung_up.set()

    async with before(handler) as url:
        async with connection(url) as (reader, writer):
            writer.write(request("GET /slow"))
            await asked.wait()
            if sent:
                await read_head(reader)
        await asyncio.wait_for(hung_up.wait(), 5)


@pytest.mark.parametrize("method", ["DELETE", "POST"])
async def test_what_is_to_be_changed_is_told_the_worker_though_the_client_left_at_once(method: str) -> None:
    """As from a page that is being closed: one ComfyUI does it."""
    seen: list[Head] = []
    async with before(says("a", seen)) as url:
        async with connection(url) as (_, writer):
            writer.write(request(f"{method} /userdata/x"))
            await writer.drain()
        await until(lambda: seen, "the worker is told")


async def test_a_client_that_leaves_is_seen_though_nobody_takes_its_body() -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    class Stuck:
        @asynccontextmanager
        async def open(self, *_: object) -> AsyncIterator[Answer]:
            asked.set()
            try:
                await asyncio.Event().wait()
                yield Answer(200, [], 0, nothing())
            finally:
                left.set()

    async def nothing() -> AsyncIterator[bytes]:
        yield b""

    async with gateway(lambda _: Passthrough(Stuck(), Farm(up("a", "http://a")))) as url:
        async with connection(url) as (_, writer):
            writer.write(request("POST /x", "Content-Length: 9", body=b"half"))
            await asked.wait()
        await asyncio.wait_for(left.wait(), 5)


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 100\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"]
)
async def test_a_worker_that_dies_in_the_middle_cuts_the_client_off(framing: bytes) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n" + framing)
        await writer.drain()

    async with before(handler) as url, connection(url) as (reader, writer):
        writer.write(request("GET /file"))
        head = await read_head(reader)
        rest = await reader.read()
    if head.get("content-length"):
        assert (head.get("content-length"), rest) == ("100", b"half")
    else:
        assert rest == b"4\r\nhalf\r\n"


async def test_half_an_answer_without_a_length_does_not_end_as_a_whole_one() -> None:
    """For whoever speaks HTTP/1.0, as nginx does to what is behind it, its end is that of the connection."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        await writer.drain()

    async with before(handler) as url, connection(url) as (reader, writer):
        writer.write(b"GET /file HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            await reader.read()


async def test_bytes_reach_the_client_before_the_worker_has_finished() -> None:
    finish = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfirst")
        await finish.wait()
        writer.write(b"last")

    async with before(handler) as url, connection(url) as (reader, writer):
        writer.write(request("GET /slow"))
        await read_head(reader)
        assert await reader.readexactly(5) == b"first"
        finish.set()
        assert await reader.readexactly(4) == b"last"


async def test_a_client_connection_serves_many_requests_over_few_to_the_worker() -> None:
    connections = 0
    answers = says("a")

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await answers(reader, writer)

    async with before(handler) as url, connection(url) as (reader, writer):
        for method, body in (("GET", b""), ("POST", b"some")):
            for _ in range(3):
                writer.write(request(f"{method} /x", f"Content-Length: {len(body)}", body=body))
                assert (await read_head(reader)).status == 200
                assert await reader.readexactly(1) == b"a"
    assert connections == 2, "one for requests without a body, one for those with"


@pytest.mark.parametrize(
    "headers",
    [
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked, identity",),
        ("Content-Length: 5", "Content-Length: 6"),
        ("X: a\rb",),
        ("Transfer-Encoding : chunked",),
    ],
)
async def test_two_readings_of_one_request_are_refused(headers: tuple[str, ...]) -> None:
    seen: list[Head] = []
    async with before(says("a", seen)) as url:
        head, _ = await exchange(url, request("POST /x", *headers, body=b"0\r\n\r\nGET /evil HTTP/1.1\r\n\r\n"))
    assert head.status == 400
    assert not any("evil" in one.line for one in seen)


async def test_the_end_of_a_connection_is_each_ones_own() -> None:
    seen: list[Head] = []
    closes = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na"
    async with before(answering(closes, seen=seen)) as url:
        head, _ = await exchange(url, request("GET /x"))
        assert "connection" not in head.names
        head, _ = await exchange(url, request("GET /x", "Connection: close"))
        assert head.get("connection") == "close"
    assert all("connection" not in one.names for one in seen)


async def test_a_slow_worker_does_not_hold_up_others() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with worker(silent) as a, worker(says("b")) as b:
        farm = Farm(up("a", a), up("b", b))
        async with gateway(lambda wire: Passthrough(wire, farm)) as url, connection(url) as (_, writer):
            writer.write(request("GET /x"))
            _, body = await exchange(url, request("GET /x", "X-Gateway-Worker: b"))
            assert body == b"b"
