from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conformance.transcripts import Ear, listening
from tests.farm import Client, Farm, farm, picture
from tests.flows import saying
from tests.scripted import Scripted
from tests.servers import StateServer, until
from tests.wire import small

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

TRY_AGAIN_LATER = 1013


def follow(whole: Farm, client: Client, *, flags: bool = False) -> Any:
    return listening(whole.http, whole.urls[0], client.client_id, flags=flags)


@contextmanager
def stalled(whole: Farm, client_id: str) -> Any:
    """A client that asks for its socket, and never reads."""
    port = int(whole.urls[0].rpartition(":")[2])
    with small() as client:
        client.connect(("127.0.0.1", port))
        client.sendall(
            f"GET /ws?clientId={client_id} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        yield client


def reading_late() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(socket_factory=lambda _: small()))


def open_sockets() -> int:
    return sum(task.get_name() == "write client" for task in asyncio.all_tasks())


async def flood(worker: Scripted, attempt: str, count: int = 5000) -> None:
    """Results, none of which may be left out, until every buffer is full."""
    for number in range(count):
        await worker.tell(saying.result(attempt, f"{number} " + "x" * 4000))


async def test_one_that_never_reads_is_closed_and_others_are_not_delayed(whole: Farm, behind: Scripted) -> None:
    """Two of one client, one of them stalled, and one of another."""
    client, other = whole.client(), whole.client()
    async with follow(whole, client) as reading, follow(whole, other) as watching:
        with stalled(whole, client.client_id or ""):
            await until(lambda: open_sockets() == 3, "all three are there")
            id = await client.submit(picture())
            attempt = await behind.runs()
            await reading.heard(lambda ear: ear.of("execution_start"), "it runs")
            flooding = asyncio.create_task(flood(behind, attempt))
            slowest = 0.0
            while not flooding.done():
                slowest = max(slowest, await echo(behind, attempt, reading))
            await flooding
            await until(lambda: open_sockets() == 2, "it is closed", timeout=20)
            behind.finish()
            await reading.ended(id)
            assert len(reading.of("executed")) == 5000, "the one that reads has missed nothing"
            assert slowest < 2.0
            assert set(watching.types) == {"status"}


async def echo(worker: Scripted, attempt: str, ear: Ear) -> float:
    """Seconds from a worker's word to a client's ear."""
    began = time.monotonic()
    mark = f"{began}"
    await worker.tell(saying.event("mark", mark=mark))
    await ear.heard(lambda ear: f'"mark": "{mark}"' in "".join(map(str, ear.frames[-200:])), "the mark")
    return time.monotonic() - began


async def test_one_that_reads_too_late_is_told_why(whole: Farm, behind: Scripted) -> None:
    client = whole.client()
    async with reading_late() as http:
        url = f"{whole.urls[0]}/ws?clientId={client.client_id}"
        async with http.ws_connect(url, max_msg_size=0) as late:
            await client.submit(picture())
            attempt = await behind.runs()
            await flood(behind, attempt)
            await until(lambda: open_sockets() == 0, "it is given up", timeout=20)
            async for _ in late:
                pass
            assert late.close_code == TRY_AGAIN_LATER
            assert late.closed


async def test_previews_are_left_out_for_one_who_is_behind_and_results_never(whole: Farm, behind: Scripted) -> None:
    client = whole.client()
    async with reading_late() as http, follow(whole, client, flags=True) as prompt_reader:
        url = f"{whole.urls[0]}/ws?clientId={client.client_id}"
        async with http.ws_connect(url, max_msg_size=0) as late:
            await late.send_json({"type": "feature_flags", "data": {"supports_preview_metadata": True}})
            id = await client.submit(picture())
            attempt = await behind.runs()
            await behind.tell(saying.executing(attempt))
            for number in range(300):
                await behind.tell(saying.preview(attempt, bytes([number % 256]) * 60_000))
                if number % 30 == 0:
                    await behind.tell(saying.picture(bytes([number // 30]) * 60_000))
            behind.finish()
            await prompt_reader.ended(id)
            got = []
            async for message in late:
                got.append(message.data)
                if isinstance(message.data, str) and f'"node": null, "prompt_id": "{id}"' in message.data:
                    break
        kept = [frame for frame in got if isinstance(frame, bytes) and frame[:4] == b"\x00\x00\x00\x04"]
        assert 0 < len(kept) < 280
        assert kept[-1].endswith(bytes([299 % 256]) * 60_000), "the newest is there"
        assert [frame[-1] for frame in got if isinstance(frame, bytes) and frame[3] == 1] == list(range(10))
        assert prompt_reader.types.count(4) > len(kept), "one who keeps up has more of them"


async def test_while_the_state_is_away_it_says_so(short_path: Path, behind: Scripted) -> None:
    server = StateServer(short_path, durable=True)
    server.start()
    try:
        async with farm(server.url, behind) as whole:
            server.kill()
            url = f"{whole.urls[0]}/ws?clientId=x"
            async with aiohttp.ClientSession() as http, http.ws_connect(url) as client:
                message = await asyncio.wait_for(client.receive(), 20)
                assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, TRY_AGAIN_LATER)
            server.start()
            async with follow(whole, whole.client()) as ear:
                assert ear.types[0] == "status"
    finally:
        server.kill()


@pytest.mark.parametrize("sent", ["[" * 100_000, "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "NaN"])
async def test_nothing_that_is_sent_breaks_it(whole: Farm, behind: Scripted, sent: str) -> None:
    client = whole.client()
    async with follow(whole, client) as ear:
        await ear.socket.send_str(sent)
        await ear.socket.send_bytes(b"\x00\xff")
        behind.instant = True
        await ear.ended(await client.submit(picture()))


async def test_names_are_taken_as_they_are(whole: Farm, behind: Scripted) -> None:
    behind.instant = True
    for name, quoted in (("ü ß", "%C3%BC%20%C3%9F"), ("a+b", "a%2Bb"), ("x" * 500, "x" * 500)):
        async with listening(whole.http, whole.urls[0], quoted) as ear:
            assert ear.of("status")[0]["sid"] == name
            await ear.ended(await whole.client(name).submit(picture()))
