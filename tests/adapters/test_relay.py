from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator

import pytest

from gateway.adapters.relay import Relay, new_session
from gateway.domain.errors import BadRequest, WorkerRefused, WorkerSilent
from gateway.domain.ports.relay import Answer
from tests.servers import until
from tests.wire import ON_BOTH_LOOPS, Head, answering, nobody, read_body, read_chunk, read_head, worker

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(20)]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
async def relay(anyio_backend: str) -> AsyncIterator[Relay]:
    async with new_session(connect_timeout=2) as session, Relay(session, connect_timeout=2) as relay:
        yield relay


async def whole(answer: Answer) -> bytes:
    return b"".join([chunk async for chunk in answer.chunks])


async def get(relay: Relay, url: str, target: bytes = b"/", *headers: tuple[bytes, bytes]) -> tuple[Answer, bytes]:
    async with relay.open(url, "GET", target, headers) as answer:
        return answer, await whole(answer)


@pytest.mark.parametrize(
    "target",
    [
        b"/userdata/workflows%2Fa.json",
        b"/..%2f..%2Fetc",
        b"/a/../b/./c",
        b"//host/x",
        b"///",
        b"/a//b",
        b"/@host/",
        b"/%zz%",
        b"/a;b=c|d",
        b"/x?q=%2f&&x=+%20&y=?/:@",
        b"/x??",
        b"/%C3%BC?f=%E4",
    ],
)
async def test_path_and_query_arrive_byte_for_byte(relay: Relay, target: bytes) -> None:
    seen: list[Head] = []
    async with worker(answering(OK, seen=seen)) as url:
        _, body = await get(relay, url, target)
    assert body == b"ok"
    assert seen[0].target == target.decode()
    assert seen[0].get("host") == url.removeprefix("http://")


@pytest.mark.parametrize("target", [b"*", b"@host/", b":99/", b""])
async def test_what_is_no_path_cannot_change_the_address(relay: Relay, target: bytes) -> None:
    with pytest.raises(BadRequest):
        await get(relay, "http://127.0.0.1:1", target)


async def test_only_what_is_the_workers_business_is_sent(relay: Relay) -> None:
    seen: list[Head] = []
    dropped = b"""Connection Keep-Alive TE Trailer Upgrade Proxy-Authorization Proxy-Connection X-Private Host Origin
        Referer Sec-Fetch-Site Sec-Fetch-Dest Forwarded X-Forwarded-For X-Forwarded-Host X-Real-IP Expect
        X-Gateway-Worker""".split()
    kept = [(b"Range", b"bytes=0-1"), (b"If-None-Match", b'"e"'), (b"Cookie", b"a=b"), (b"Accept-Encoding", b"br")]
    sent = [(name, b"X-Private, close" if name == b"Connection" else b"1") for name in dropped]
    async with worker(answering(OK, seen=seen)) as url:
        await get(relay, url, b"/", *sent, *kept)
    assert [pair for pair in seen[0].headers if pair[0] != "host"] == [
        (n.decode().lower(), v.decode()) for n, v in kept
    ]


async def test_only_what_is_the_clients_business_comes_back(relay: Relay) -> None:
    response = (
        b"HTTP/1.1 206 Partial Content\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n"
        b"Server: w\r\nDate: d\r\nProxy-Authenticate: x\r\nTrailer: y\r\nUpgrade: h2c\r\n"
        b'ETag: "e"\r\nContent-Range: bytes 0-1/9\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\n\r\nok'
    )
    async with worker(answering(response)) as url:
        answer, body = await get(relay, url)
    assert (answer.status, body) == (206, b"ok")
    names = [name for name, _ in answer.headers]
    assert names == [b"ETag", b"Content-Range", b"Set-Cookie", b"Set-Cookie", b"Content-Length"]


async def test_naming_the_length_in_connection_smuggles_nothing(relay: Relay) -> None:
    seen: list[Head] = []
    async with worker(answering(OK, seen=seen)) as url:
        headers = [(b"connection", b"Content-Length"), (b"content-length", b"5")]
        async with relay.open(url, "POST", b"/x", headers, given(b"GET /")) as answer:
            await whole(answer)
    assert [(head.line, head.get("content-length")) for head in seen] == [("POST /x HTTP/1.1", "5")]


async def test_cookies_of_one_client_are_not_sent_for_another(relay: Relay) -> None:
    seen: list[Head] = []
    async with worker(answering(OK.replace(b"\r\n\r\n", b"\r\nSet-Cookie: s=1\r\n\r\n"), seen=seen)) as url:
        await get(relay, url)
        await get(relay, url)
    assert [head.get("cookie") for head in seen] == [None, None]


@pytest.mark.parametrize("raw", ["prüf".encode(), b"plain", "日本".encode()])
async def test_header_bytes_are_kept(relay: Relay, raw: bytes) -> None:
    seen: list[Head] = []
    async with worker(answering(OK, seen=seen)) as url:
        await get(relay, url, b"/", (b"x-name", raw))
    assert (seen[0].get("x-name") or "").encode("latin-1") == raw


async def test_a_line_break_in_a_header_goes_nowhere(relay: Relay) -> None:
    seen: list[Head] = []
    async with worker(answering(OK, seen=seen)) as url:
        with pytest.raises(ValueError, match="header"):
            await get(relay, url, b"/", (b"x", b"a\r\nGET /evil HTTP/1.1"))
    assert seen == []


async def test_credentials_in_the_workers_url_replace_the_clients(relay: Relay) -> None:
    seen: list[Head] = []
    async with worker(answering(OK, seen=seen)) as url:
        await get(relay, url.replace("//", "//me:secret@"), b"/", (b"authorization", b"Bearer client"))
    assert [v for n, v in seen[0].headers if n == "authorization"] == ["Basic bWU6c2VjcmV0"]
    with pytest.raises(WorkerRefused) as refused:
        await get(relay, nobody().replace("//", "//me:secret@"))
    assert "secret" not in str(refused.value)


async def test_packed_bodies_stay_packed(relay: Relay) -> None:
    response = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8bno"
    async with worker(answering(response)) as url:
        answer, body = await get(relay, url)
    assert body == b"\x1f\x8bno"
    assert (b"Content-Encoding", b"gzip") in answer.headers


async def test_head_and_304_have_no_body(relay: Relay) -> None:
    not_modified = b'HTTP/1.1 304 Not Modified\r\nETag: "e"\r\nContent-Length: 7\r\n\r\n'
    async with worker(answering(not_modified)) as url:
        answer, body = await get(relay, url)
    assert (answer.status, answer.headers, body) == (304, [(b"ETag", b'"e"')], b"")
    head = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n")
    async with worker(head) as url, relay.open(url, "HEAD", b"/", []) as answer:
        assert (await whole(answer), answer.headers) == (b"", [(b"Content-Length", b"7")])


async def test_redirects_are_the_clients_to_follow(relay: Relay) -> None:
    async with worker(answering(b"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n")) as url:
        answer, _ = await get(relay, url)
    assert (answer.status, answer.headers[0]) == (302, (b"Location", b"/b"))


async def given(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


@pytest.mark.parametrize("length", [None, b"10"])
async def test_the_worker_sees_the_first_bytes_before_the_last_are_sent(relay: Relay, length: bytes | None) -> None:
    seen = asyncio.Event()
    got: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        assert (head.get("transfer-encoding") == "chunked") is (length is None)
        first = read_chunk(reader) if length is None else reader.readexactly(5)
        got.append(await first)
        seen.set()
        got.append(await (read_chunk(reader) if length is None else reader.readexactly(5)))
        writer.write(OK)

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        await seen.wait()
        yield b"-last"

    headers = [(b"content-length", length)] if length else [(b"transfer-encoding", b"chunked")]
    async with worker(handler) as url, relay.open(url, "POST", b"/", headers, body()) as answer:
        assert await whole(answer) == b"ok"
    assert got == [b"first", b"-last"]


async def test_a_refused_connection_leaves_the_body_whole(relay: Relay) -> None:
    body = given(b"all of it")
    with pytest.raises(WorkerRefused):
        async with relay.open(nobody(), "POST", b"/", [], body):
            pass
    assert [chunk async for chunk in body] == [b"all of it"]


@pytest.mark.parametrize("response", [b"", b"HTTP/1.1 200 OK\r\nConte", b"nonsense\r\n\r\n"])
async def test_no_answer_is_silence_not_refusal(relay: Relay, response: bytes) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(response)

    async with worker(handler) as url:
        with pytest.raises(WorkerSilent):
            async with relay.open(url, "POST", b"/", []):
                pass


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ],
)
async def test_a_body_that_breaks_off_is_no_end(relay: Relay, response: bytes) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(response)

    got = b""
    async with worker(handler) as url, relay.open(url, "GET", b"/", []) as answer:
        with pytest.raises(WorkerSilent):  # noqa: PT012
            async for chunk in answer.chunks:
                got += chunk
    assert got == b"half"


async def test_a_request_with_a_body_is_never_sent_twice(relay: Relay) -> None:
    """PUT counts as repeatable to HTTP libraries, but its body is gone: a repeat would write half a file."""
    requests: list[str] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        requests.append(head.line)
        await read_body(reader, head)
        writer.write(OK)
        requests.append((await read_head(reader)).line)
        await read_chunk(reader)

    async with worker(handler) as url:
        assert await _status(relay, url, [], given(b"one")) == 200
        with pytest.raises(WorkerSilent):
            async with relay.open(url, "PUT", b"/file", [], given(b"one", b"two")):
                pass
    assert requests == ["POST / HTTP/1.1", "PUT /file HTTP/1.1"]


async def test_leaving_hangs_up_at_once(relay: Relay) -> None:
    hung_up = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nfirst")
        assert await reader.read() == b""
        hung_up.set()

    async with worker(handler) as url:
        async with relay.open(url, "GET", b"/", []) as answer:
            assert await anext(answer.chunks) == b"first"
        await asyncio.wait_for(hung_up.wait(), 5)


@ON_BOTH_LOOPS
async def test_the_machine_that_took_a_body_is_asked_whether_it_is_there(relay: Relay) -> None:
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok"
    async with worker(answering(half)) as url, relay.open(url, "POST", b"/", [(b"content-length", b"1")], given(b"x")):
        (connection,) = relay._session.connector._acquired  # type: ignore[union-attr]
        sock = connection.transport.get_extra_info("socket")  # type: ignore[union-attr]
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if sys.platform == "linux":
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 60
            assert not sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT), "it may leave a body lying"


async def test_a_body_that_fails_is_cut_off_and_says_why(relay: Relay) -> None:
    cut = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        assert await read_chunk(reader) == b"some"
        with pytest.raises(asyncio.IncompleteReadError):
            await read_chunk(reader)
        cut.set()

    async def body() -> AsyncIterator[bytes]:
        yield b"some"
        raise LookupError("the client left")

    async with worker(handler) as url:
        with pytest.raises(LookupError, match="the client left"):
            async with relay.open(url, "POST", b"/", [], body()):
                pass
        await asyncio.wait_for(cut.wait(), 5)


async def test_an_early_answer_does_not_leave_half_a_request_on_a_pooled_connection(relay: Relay) -> None:
    connections: list[list[str]] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines: list[str] = []
        connections.append(lines)
        while True:
            head = await read_head(reader)
            lines.append(head.line)
            if head.line.startswith("GET"):
                writer.write(OK)
            else:
                writer.write(OK.replace(b"200 OK", b"413 Too Large"))

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1000
            await asyncio.sleep(0)

    async with worker(handler) as url:
        async with relay.open(url, "POST", b"/up", [], endless()) as answer:
            assert (answer.status, await whole(answer)) == (413, b"ok")
        _, body = await get(relay, url)
        assert body == b"ok"
    assert connections == [["POST /up HTTP/1.1"], ["GET / HTTP/1.1"]]


async def test_a_worker_that_does_not_read_stops_the_client(relay: Relay) -> None:
    go_on = asyncio.Event()
    given_away = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        await go_on.wait()
        await read_body(reader, head)
        writer.write(OK)

    async def body() -> AsyncIterator[bytes]:
        nonlocal given_away
        for _ in range(400):
            given_away += 2**18
            yield b"x" * 2**18

    async def stalled() -> bool:
        before = given_away
        await asyncio.sleep(0.2)
        return 0 < given_away == before

    async with worker(handler) as url:
        length = [(b"content-length", str(400 * 2**18).encode())]
        sending = asyncio.create_task(_status(relay, url, length, body()))
        await until(stalled, "the upload stalls")
        assert given_away < 50 * 2**18
        go_on.set()
        assert await sending == 200
    assert given_away == 400 * 2**18


async def _status(relay: Relay, url: str, headers: list[tuple[bytes, bytes]], body: AsyncIterator[bytes]) -> int:
    async with relay.open(url, "POST", b"/", headers, body) as answer:
        return answer.status


async def test_a_client_that_does_not_read_stops_the_worker(relay: Relay) -> None:
    written = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (400 * 2**18))
        for _ in range(400):
            writer.write(b"x" * 2**18)
            await writer.drain()
            written += 2**18

    async def stalled() -> bool:
        before = written
        await asyncio.sleep(0.2)
        return 0 < written == before

    async with worker(handler) as url, relay.open(url, "GET", b"/", []) as answer:
        await until(stalled, "the download stalls")
        assert written < 50 * 2**18
        assert len(await whole(answer)) == 400 * 2**18
