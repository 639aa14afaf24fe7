from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator

import pytest

from gateway.adapters import upstream_pool
from gateway.adapters.upstream_pool import Pool, peer
from gateway.domain.errors import WorkerRefused
from tests.servers import until
from tests.wire import ON_BOTH_LOOPS, answering, nobody, worker

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(20)]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ASKED = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
async def narrow(anyio_backend: object) -> AsyncIterator[Pool]:
    pool = Pool(per_worker=1, connect_timeout=0.2)
    yield pool
    pool.close()


@pytest.mark.parametrize(
    ("url", "host", "port", "tls", "prefix", "named"),
    [
        ("http://gpu-0:8188", "gpu-0", 8188, False, b"", b"Host: gpu-0:8188\r\n"),
        ("http://gpu-0/", "gpu-0", 80, False, b"", b"Host: gpu-0\r\n"),
        ("https://gpu-0/comfy/", "gpu-0", 443, True, b"/comfy", b"Host: gpu-0\r\n"),
        ("http://[::1]:8188", "::1", 8188, False, b"", b"Host: [::1]:8188\r\n"),
        ("http://me:a%3Ab@x", "x", 80, False, b"", b"Host: x\r\nAuthorization: Basic bWU6YTpi\r\n"),
    ],
)
def test_an_address_is_read_once(url: str, host: str, port: int, tls: bool, prefix: bytes, named: bytes) -> None:
    found = peer(url)
    assert (found.host, found.port, found.tls, found.prefix, found.named) == (host, port, tls, prefix, named)
    assert found.own_credentials is ("@" in url)


async def test_nobody_there_is_a_refusal(narrow: Pool) -> None:
    for _ in range(2):
        with pytest.raises(WorkerRefused, match="cannot be reached"):
            await narrow.take(narrow.peer(nobody()))


async def test_there_are_no_more_than_may_be(narrow: Pool) -> None:
    async with worker(answering(OK)) as url:
        there = narrow.peer(url)
        first, _ = await narrow.take(there)
        with pytest.raises(WorkerRefused, match="too many"):
            await narrow.take(there)
        waiting = asyncio.create_task(narrow.take(there))
        await asyncio.sleep(0)
        await first.ask(ASKED, bodiless=False)
        narrow.give(first, there)
        assert await waiting == (first, True)
        narrow.give(first, there)


async def test_whoever_waits_gets_a_new_one_for_one_that_broke(narrow: Pool) -> None:
    async with worker(answering(OK)) as url:
        there = narrow.peer(url)
        first, _ = await narrow.take(there)
        waiting = asyncio.create_task(narrow.take(there))
        await asyncio.sleep(0)
        narrow.give(first, there)  # it has answered nothing
        second, used = await waiting
        assert second is not first
        assert not used


async def test_who_stops_waiting_is_not_served(narrow: Pool) -> None:
    async with worker(answering(OK)) as url:
        there = narrow.peer(url)
        first, _ = await narrow.take(there)
        waiting = [asyncio.create_task(narrow.take(there)) for _ in range(2)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await first.ask(ASKED, bodiless=False)
        narrow.give(first, there)
        assert (await waiting[1])[0] is first
        assert waiting[0].cancelled()
        assert not there.waiting


async def test_who_stops_waiting_is_forgotten_though_there_is_no_room(narrow: Pool) -> None:
    async with worker(answering(OK)) as url:
        there = narrow.peer(url)
        await narrow.take(there)
        waiting = [asyncio.create_task(narrow.take(there)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[1].cancel()
        with pytest.raises(WorkerRefused, match="too many"):
            await waiting[0]
        await asyncio.wait(waiting)
        assert not there.waiting


async def test_what_the_worker_closes_is_kept_no_longer(narrow: Pool) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await writer.drain()

    async with worker(handler) as url:
        there = narrow.peer(url)
        connection, _ = await narrow.take(there)
        await connection.ask(ASKED, bodiless=False)
        await until(lambda: not there.count, "it is known to be closed")
        narrow.give(connection, there)
        assert not there.idle


async def test_what_is_not_used_is_closed_and_forgotten(narrow: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream_pool, "_IDLE", 0.1)
    async with worker(answering(OK)) as url:
        there = narrow.peer(url)
        connection, _ = await narrow.take(there)
        await connection.ask(ASKED, bodiless=False)
        narrow.give(connection, there)
        await until(lambda: not there.count, "it is closed")
        await until(lambda: narrow.peer(url) is not there, "the address is forgotten")


@pytest.mark.parametrize("host", ["a" * 64, "a..b", "a\0b"])
async def test_a_host_that_is_no_name_is_a_refusal(narrow: Pool, host: str) -> None:
    there = narrow.peer(f"http://{host}:8188")
    with pytest.raises(WorkerRefused, match="cannot be reached"):
        await narrow.take(there)
    assert not there.count


@ON_BOTH_LOOPS
async def test_a_machine_that_is_gone_is_found_out(narrow: Pool) -> None:
    async with worker(answering(OK)) as url:
        there = narrow.peer(url)
        connection, _ = await narrow.take(there)
        sock = connection._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if sys.platform == "linux":
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 60
            assert 0 < sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 60_000
        narrow.give(connection, there)
