from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from gateway.adapters.relay import Relay, new_session
from gateway.domain.errors import WorkerSilent
from tests.servers import until
from tests.wire import ON_BOTH_LOOPS, Head, answering, read_head, worker

pytestmark = [pytest.mark.anyio, ON_BOTH_LOOPS, pytest.mark.timeout(20)]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
MIB = 2**20


@pytest.fixture
async def relay(anyio_backend: object) -> AsyncIterator[Relay]:
    async with new_session(connect_timeout=2) as session, Relay(session, connect_timeout=2) as relay:
        yield relay


class Glass:
    """A sink that is full from `room` bytes on, until it is emptied; it keeps what it was given, uncopied."""

    def __init__(self, room: int = 2**40) -> None:
        self.held: list[bytes | memoryview] = []
        self.size = 0
        self.room = room
        self.pace: Callable[[bool], None] | None = None

    def write(self, data: bytes | memoryview) -> None:
        self.held.append(data)
        self.size += len(data)
        if self.size >= self.room and self.pace is not None:
            self.pace(True)

    def pending(self) -> int:
        return self.size

    def fed_by(self, pace: Callable[[bool], None] | None) -> None:
        self.pace = pace
        if pace is not None:
            pace(self.size >= self.room)

    def emptied(self) -> None:
        self.room = 2**40
        assert self.pace is not None
        self.pace(False)

    @property
    def content(self) -> bytes:
        return b"".join(self.held)


async def poured(relay: Relay, url: str, glass: Glass, method: str = "GET") -> int:
    async with relay.open(url, method, b"/", []) as answer:
        assert answer.pour is not None
        await answer.pour(glass)
        return answer.status


BODY = bytes(range(256)) * 4096 * 3
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY,
        CHUNKED
        + b"".join(b"%x\r\n%b\r\n" % (MIB, BODY[at : at + MIB]) for at in range(0, len(BODY), MIB))
        + b"0\r\n\r\n",
    ],
    ids=["length", "chunked"],
)
async def test_all_of_a_body_is_poured_and_its_connection_used_again(relay: Relay, response: bytes) -> None:
    connections = 0
    answers = answering(response)

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await answers(reader, writer)

    async with worker(handler) as url:
        for _ in range(3):
            glass = Glass()
            assert await poured(relay, url, glass) == 200
            assert glass.content == BODY
    assert connections == 1


class Draining(Glass):
    """Lets go of what it has with every third piece, as a client that reads does; until then it must stay whole."""

    def __init__(self) -> None:
        super().__init__()
        self.whole = b""
        self.seen: set[int] = set()

    def write(self, data: bytes | memoryview) -> None:
        if isinstance(data, memoryview):
            self.seen.add(id(data.obj))
        self.held.append(data)
        if len(self.held) == 3:
            self.whole += self.content
            self.held.clear()

    def pending(self) -> int:
        return sum(map(len, self.held))


async def test_what_is_held_is_not_written_over_and_then_used_again(relay: Relay) -> None:
    async with worker(answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (8 * len(BODY)) + BODY * 8)) as url:
        glass = Draining()
        assert await poured(relay, url, glass) == 200
    assert glass.whole + glass.content == BODY * 8
    assert len(glass.seen) <= 6, "memory is used again"


async def test_a_body_may_end_with_its_connection(relay: Relay) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + BODY)

    async with worker(handler) as url:
        for _ in range(2):
            glass = Glass()
            assert await poured(relay, url, glass) == 200
            assert glass.content == BODY


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n", CHUNKED + b"ffffff\r\n"])
async def test_a_body_that_breaks_off_raises(relay: Relay, head: bytes) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(head)
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(b"half")

    async with worker(handler) as url:
        glass = Glass()
        with pytest.raises(WorkerSilent):
            await poured(relay, url, glass)
        assert glass.content == b"half"


async def test_a_full_sink_stops_the_worker(relay: Relay) -> None:
    written = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (100 * MIB))
        for _ in range(100):
            writer.write(b"x" * MIB)
            await writer.drain()
            written += 1

    glass = Glass(room=MIB)

    async def stalled() -> bool:
        before = written
        await asyncio.sleep(0.2)
        return 0 < written == before

    async with worker(handler) as url:
        pouring = asyncio.create_task(poured(relay, url, glass))
        await until(stalled, "the worker has to wait")
        assert glass.size < 2 * MIB
        glass.emptied()
        assert await pouring == 200
    assert glass.size == 100 * MIB


async def test_news_before_the_answer_is_left_out(relay: Relay) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    news = answering(b"HTTP/1.1 100 Continue\r\n\r\n" + early + OK)
    async with worker(news) as url, relay.open(url, "GET", b"/", []) as answer:
        body = b"".join([chunk async for chunk in answer.chunks])
    assert (answer.status, answer.headers, body) == (200, [(b"Content-Length", b"2")], b"ok")


async def test_a_change_of_protocol_that_nobody_asked_for_is_no_answer(relay: Relay) -> None:
    switching = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
    async with worker(answering(switching)) as url:
        with pytest.raises(WorkerSilent):
            await poured(relay, url, Glass())


@pytest.mark.parametrize(
    ("method", "head"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"),
        ("HEAD", CHUNKED),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 999\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
    ],
)
async def test_where_no_body_can_be_none_is_waited_for(relay: Relay, method: str, head: bytes) -> None:
    async with worker(answering(head)) as url:
        for _ in range(2):
            glass = Glass()
            await poured(relay, url, glass, method)
            assert glass.content == b""


async def test_what_comes_after_an_answer_is_not_the_next_one(relay: Relay) -> None:
    """A worker that says more than it said it would is heard no further."""
    connections: list[list[str]] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines: list[str] = []
        connections.append(lines)
        while True:
            lines.append((await read_head(reader)).line)
            writer.write(OK + OK.replace(b"ok", b"no"))

    async with worker(handler) as url:
        for _ in range(3):
            glass = Glass()
            assert await poured(relay, url, glass) == 200
            assert glass.content == b"ok"
    assert [len(lines) for lines in connections] == [1, 1, 1]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
async def test_a_worker_that_closes_what_was_kept_costs_no_request(relay: Relay, method: str) -> None:
    """It closes at the very moment at which the next request is on its way."""
    heads: list[Head] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await read_head(reader))
        writer.write(OK if heads[-1].line.startswith("GET") else b"HTTP/1.1 204 No Content\r\n\r\n")
        await reader.readexactly(1)

    async with worker(handler) as url:
        assert await poured(relay, url, Glass()) == 200
        for _ in range(3):
            assert await poured(relay, url, Glass(), method) in (200, 204)
    assert len(heads) == 4


async def test_what_has_begun_is_not_asked_for_again(relay: Relay) -> None:
    heads: list[str] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await read_head(reader)).line)
        writer.write(OK)
        heads.append((await read_head(reader)).line)
        writer.write(OK[:9])

    async with worker(handler) as url:
        assert await poured(relay, url, Glass()) == 200
        with pytest.raises(WorkerSilent):
            await poured(relay, url, Glass())
    assert len(heads) == 2


async def test_who_is_cancelled_leaves_no_connection_behind(relay: Relay) -> None:
    hung_up = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        assert await reader.read() == b""
        hung_up.set()

    async with worker(handler) as url:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await poured(relay, url, Glass())
        await asyncio.wait_for(hung_up.wait(), 5)


async def test_a_post_without_a_body_says_so(relay: Relay) -> None:
    seen: list[Head] = []
    async with worker(answering(OK, seen=seen)) as url:
        await poured(relay, url, Glass(), "POST")
        await poured(relay, url, Glass(), "GET")
    assert [head.get("content-length") for head in seen] == ["0", None]


@pytest.mark.parametrize(
    "response",
    [
        OK + b"HTTP/1.1 404 Not Found\r\nX-More: 1\r\nContent-Length: 0\r\n\r\n",
        OK + b"HTTP/1.1 404 Not",
        CHUNKED + b"2\r\nok\r\n0\r\nX-More: 1\r\n\r\n",
    ],
    ids=["another answer", "half of one", "trailers"],
)
async def test_what_follows_a_body_changes_nothing_of_the_head(relay: Relay, response: bytes) -> None:
    async with worker(answering(response)) as url:
        for _ in range(2):
            async with relay.open(url, "GET", b"/", []) as answer:
                await asyncio.sleep(0.05)
                body = b"".join([chunk async for chunk in answer.chunks])
                assert (answer.status, body) == (200, b"ok")
                assert {name.lower() for name, _ in answer.headers} <= {b"content-length"}
                assert dict(answer.headers).get(b"Content-Length", b"2") == b"2"


@pytest.mark.parametrize(
    "response",
    [
        *(b"HTTP/1.1 %b Odd\r\nContent-Length: 0\r\n\r\n" % status for status in (b"000", b"099", b"600", b"999")),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 2**17,
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2**20,
    ],
)
async def test_what_is_no_answer_is_none(relay: Relay, response: bytes) -> None:
    async with worker(answering(response)) as url, asyncio.timeout(5):
        with pytest.raises(WorkerSilent):
            await poured(relay, url, Glass())


async def test_a_trailer_without_end_is_no_end(relay: Relay) -> None:
    async with worker(answering(CHUNKED + b"2\r\nok\r\n0\r\nX: " + b"x" * 2**20)) as url, asyncio.timeout(5):
        glass = Glass()
        with pytest.raises(WorkerSilent):
            await poured(relay, url, glass)
        assert glass.content == b"ok"
