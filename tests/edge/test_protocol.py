from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import aiohttp
import pytest
from starlette.types import Receive, Scope, Send

from gateway.cli.serve import Leaving, _config, listening
from gateway.edge.protocol import PatientlyClosed
from gateway.settings import Settings
from tests.servers import serve, until
from tests.wire import small

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(30)]

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)

CLOSE = b"\x88\x02\x03\xf5"


class Flood:
    """Sends until it cannot send any more, then closes with 1013; `over` once that has come back."""

    def __init__(self) -> None:
        self.piece = b"x" * 2**20
        self.stuck = asyncio.Event()
        self.over = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return
        await receive()
        await send({"type": "websocket.accept"})
        with suppress(TimeoutError):
            while True:
                async with asyncio.timeout(0.2):
                    await send({"type": "websocket.send", "bytes": self.piece})
        self.stuck.set()
        await send({"type": "websocket.close", "code": 1013})
        self.over.set()


@pytest.fixture
def flood() -> Flood:
    return Flood()


@pytest.fixture
async def url(flood: Flood) -> AsyncIterator[str]:
    async with serve(flood, lifespan="off") as url:
        yield url


def unread(url: str) -> socket.socket:
    """A client that asks for a socket, and reads nothing."""
    client = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])))
    client.sendall(UPGRADE)
    return client


def tasks() -> set[Any]:
    return {task for task in asyncio.all_tasks() if "run_asgi" in repr(task.get_coro())}


async def test_a_close_waits_for_no_reader(flood: Flood, url: str) -> None:
    with unread(url):
        await asyncio.wait_for(flood.stuck.wait(), 10)
        await asyncio.wait_for(flood.over.wait(), 1)


async def test_and_the_connection_ends_soon_after(flood: Flood, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.edge.protocol._LAST_WORDS", 0.2)
    with unread(url) as client:
        await asyncio.wait_for(flood.over.wait(), 10)
        client.settimeout(5)

        def rest() -> bytes:
            last = b""
            while chunk := client.recv(2**20):
                last = chunk
            return last

        await asyncio.sleep(0.5)  # it is the time that ends it
        assert not (await asyncio.to_thread(rest)).endswith(CLOSE), "what it did not fetch in time is gone"


def read(client: socket.socket, size: int, slowly: int) -> bytes:
    """The last bytes of all that comes; so many times only `size` in a tenth of a second."""
    last = b""
    client.settimeout(5)
    while chunk := client.recv(size):
        last = (last + chunk)[-len(CLOSE) :]
        slowly -= 1
        time.sleep(0.1 if slowly > 0 else 0)
    return last


@pytest.mark.parametrize("patience", [1000, 2])
async def test_one_that_goes_on_reading_has_time_but_not_for_ever(
    flood: Flood, url: str, monkeypatch: pytest.MonkeyPatch, patience: int
) -> None:
    monkeypatch.setattr("gateway.edge.protocol._LAST_WORDS", 1.0 if patience > 2 else 0.2)
    monkeypatch.setattr("gateway.edge.protocol._PATIENCE", patience)
    flood.piece = b"x" * 2**24  # much more than the kernel takes
    with small() as client:
        client.connect(("127.0.0.1", int(url.rpartition(":")[2])))
        client.sendall(UPGRADE)
        await asyncio.wait_for(flood.over.wait(), 10)
        last = await asyncio.to_thread(read, client, 2**15, slowly=15)
    assert last.endswith(CLOSE) == (patience > 2)


async def test_one_that_reads_at_last_is_told_why(flood: Flood, url: str) -> None:
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{url}/ws", max_msg_size=0) as client:
        await asyncio.wait_for(flood.over.wait(), 10)
        async for _ in client:
            pass
        assert client.close_code == 1013


async def test_one_that_answers_no_ping_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.edge.protocol._LAST_WORDS", 0.2)
    gone = asyncio.Event()

    async def patient(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        try:
            while True:
                await send({"type": "websocket.send", "bytes": b"x" * 2**20})
        finally:
            gone.set()

    async with serve(patient, lifespan="off", ws_ping_interval=0.2, ws_ping_timeout=0.2) as url:
        with unread(url):
            await asyncio.wait_for(gone.wait(), 10)
            await until(lambda: not tasks(), "nothing is left of it")


class Talkative:
    """Says many short things in one moment, and goes."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.go_on = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await self.go_on.wait()
        for number in range(self._count):
            last = {"more": number < self._count - 1}
            await send({"type": "websocket.send", "text": f"{number}", **last})
            if number % 7 == 0:
                await send({"type": "websocket.send", "bytes": bytes(number), **last})
        await send({"type": "websocket.close", "code": 1013})


async def test_what_is_said_in_one_moment_is_written_at_once_in_order_and_before_the_close(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    writes: list[int] = []
    write = PatientlyClosed._write_gathered

    def noted(self: PatientlyClosed) -> None:
        writes.extend([len(self._frames)] if self._frames else [])
        write(self)

    monkeypatch.setattr(PatientlyClosed, "_write_gathered", noted)
    app = Talkative(1000)
    async with (
        serve(app, lifespan="off", ws=PatientlyClosed) as url,
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{url}/ws") as client,
    ):
        app.go_on.set()
        said = [message.data async for message in client]
    assert [one for one in said if isinstance(one, str)] == [str(number) for number in range(1000)]
    assert [len(one) for one in said if isinstance(one, bytes)] == [*range(0, 1000, 7)]
    assert client.close_code == 1013
    assert len(writes) < 20
    assert sum(writes) >= len(said)


@pytest.mark.parametrize("wanted", [False, True])
async def test_sockets_are_compressed_when_that_is_switched_on(wanted: bool) -> None:
    assert Settings().socket_compression is False
    config = _config(Settings(socket_compression=wanted), "redis://nobody", Leaving())
    app = Talkative(100)
    app.go_on.set()
    async with (
        serve(app, lifespan="off", ws=config.ws, ws_per_message_deflate=config.ws_per_message_deflate) as url,
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{url}/ws", compress=15) as client,
    ):
        assert bool(client.compress) is wanted
        assert [one.data async for one in client if one.type is aiohttp.WSMsgType.TEXT] == [str(n) for n in range(100)]


async def test_one_that_has_gone_is_written_to_no_more(flood: Flood, url: str) -> None:
    with unread(url):
        await asyncio.wait_for(flood.stuck.wait(), 10)
    await until(lambda: not tasks(), "nothing is left of it", timeout=15)


@contextmanager
def accepted_socket() -> Iterator[socket.socket]:
    """What we have of a client that has connected."""
    with (
        listening("127.0.0.1", 0) as sock,
        socket.create_connection(sock.getsockname()),
        sock.accept()[0] as accepted,
    ):
        yield accepted


def test_no_small_answer_waits_for_an_acknowledgement() -> None:
    """Head and body are two writes: with Nagle's algorithm the second waits for up to 40 ms."""
    with accepted_socket() as accepted:
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_clients_machine_that_is_gone_is_found_out() -> None:
    """Within minutes, though nothing is to be sent; by itself the kernel would not ask, or only after two hours."""
    with accepted_socket() as accepted:
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if idle := getattr(socket, "TCP_KEEPIDLE", None):
            assert 0 < accepted.getsockopt(socket.IPPROTO_TCP, idle) <= 120
