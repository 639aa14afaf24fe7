from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from gateway.adapters.relay import new_session
from gateway.adapters.sockets import WorkerSockets
from gateway.emulator.serve import Running, running
from gateway.emulator.settings import EmulatorSettings
from tests.conformance.client import failing, picture, sleeping
from tests.servers import until
from tests.wire import nobody

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(30)]

IDS = [f"00000000-0000-4000-8000-{number:012}" for number in range(5)]


@pytest.fixture
async def session(anyio_backend: str) -> AsyncIterator[aiohttp.ClientSession]:
    async with new_session(connect_timeout=2) as session:
        yield session


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(EmulatorSettings(directory=tmp_path)) as started:
        yield started


async def post(session: aiohttp.ClientSession, url: str, graph: Any, id: str, sid: str) -> None:
    body = {"prompt": graph, "prompt_id": id, "client_id": sid}
    async with session.post(f"{url}/prompt", json=body) as reply:
        assert reply.status == 200


async def test_what_happens_to_a_prompt_is_heard_by_its_id(session: aiohttp.ClientSession, worker: Running) -> None:
    heard: list[str | None] = []
    async with WorkerSockets(session).listen(worker.url, heard.append) as sid:
        await until(sid, "it is connected")
        assert heard == [None], "what happened before is to be looked up"
        for id, graph in ((IDS[0], picture()), (IDS[1], failing())):
            await post(session, worker.url, graph, id, sid())
            await until(lambda id=id: heard.count(id) >= 2, "begin and end are heard")  # type: ignore[misc]
        await post(session, worker.url, sleeping(20.0), IDS[2], sid())
        await until(lambda: IDS[2] in heard, "it began")
        began = heard.count(IDS[2])
        async with session.post(f"{worker.url}/interrupt"):
            await until(lambda: heard.count(IDS[2]) > began, "its interruption is heard")
    assert {*heard} == {None, *IDS[:3]}


async def test_each_connection_has_a_name_of_its_own(session: aiohttp.ClientSession, worker: Running) -> None:
    """Two under one name would make that worker deaf to both."""
    sockets = WorkerSockets(session)
    first: list[str | None] = []
    second: list[str | None] = []
    async with sockets.listen(worker.url, first.append) as one, sockets.listen(worker.url, second.append) as two:
        await until(lambda: one() and two(), "both are connected")
        assert one() != two()
        await post(session, worker.url, picture(), IDS[0], two())
        await until(lambda: IDS[0] in second, "the second hears its own")
        await post(session, worker.url, picture(), IDS[1], one())
        await until(lambda: IDS[1] in first, "the first hears its own")
    assert IDS[0] not in first
    assert IDS[1] not in second


async def test_a_worker_that_comes_back_is_listened_to_again(session: aiohttp.ClientSession, tmp_path: Path) -> None:
    heard: list[str | None] = []
    async with running(EmulatorSettings(directory=tmp_path)) as worker:
        port = int(worker.url.rpartition(":")[2])
        stack = WorkerSockets(session).listen(worker.url, heard.append)
        sid = await stack.__aenter__()
        try:
            before = await until(sid, "it is connected")
            await post(session, worker.url, failing("exit"), IDS[0], before)
            await worker.died()
            await until(lambda: not sid(), "the loss is noticed")
            assert heard[-1] is None
            async with running(EmulatorSettings(directory=tmp_path), port=port) as again:
                after = await until(sid, "it is connected again")
                assert after != before
                await post(session, again.url, picture(), IDS[1], after)
                await until(lambda: IDS[1] in heard, "it is heard again")
        finally:
            await stack.__aexit__(None, None, None)
    assert heard[heard.index(IDS[1]) - 1] is None, "what happened meanwhile is to be looked up"


async def test_a_worker_that_is_away_is_waited_for_in_silence(session: aiohttp.ClientSession) -> None:
    heard: list[str | None] = []
    tried = asyncio.Event()

    def hear(id: str | None) -> None:
        heard.append(id)
        tried.set()

    async with WorkerSockets(session).listen(nobody(), hear) as sid:
        await asyncio.wait_for(tried.wait(), 5)
        assert sid() == ""
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("listen")]
    assert {*heard} == {None}


@asynccontextmanager
async def saying(frames: Sequence[str | bytes]) -> AsyncIterator[str]:
    """A worker whose socket says these frames and stays open."""

    async def socket(request: web.Request) -> web.StreamResponse:
        said = web.WebSocketResponse()
        await said.prepare(request)
        for frame in frames:
            await (said.send_bytes(frame) if isinstance(frame, bytes) else said.send_str(frame))
        async for _ in said:
            pass
        return said

    app = web.Application()
    app.router.add_get("/ws", socket)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


LAST = '{"type": "execution_success", "data": {"prompt_id": "last"}}'
TOLD = {
    "begin": ('{"type": "execution_start", "data": {"prompt_id": "x"}}', ["x"]),
    "error": ('{"type": "execution_error", "data": {"prompt_id": "x", "n": NaN}}', ["x"]),
    "interruption": ('{"type": "execution_interrupted", "data": {"prompt_id": "x"}}', ["x"]),
    "the very end": ('{"type": "executing", "data": {"node": null, "prompt_id": "x"}}', ["x"]),
    "an end without an id": ('{"type": "executing", "data": {"node": null}}', [None]),
    "a node": ('{"type": "executing", "data": {"node": "3", "prompt_id": "x"}}', []),
    "progress": ('{"type": "progress", "data": {"value": 1, "prompt_id": "x"}}', []),
    "status": ('{"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 0}}}}', []),
    "of others": ('{"type": "crystools.monitor", "data": {"prompt_id": "x"}}', []),
    "no object": ("[1, 2]", []),
    "a text": ('"execution_start"', []),
    "no type": ('{"data": {"prompt_id": "x"}}', []),
    "a type that is none": ('{"type": ["execution_start"], "data": {}}', []),
    "data that is none": ('{"type": "execution_start", "data": [1]}', []),
    "no JSON": ("{", []),
    "a preview": (b"\x00\x00\x00\x01\x00\x00\x00\x02PNG", []),
    "nothing": ("", []),
    "more than a megabyte": ('{"type": "executed", "data": "' + "x" * 2**21 + '"}', []),
}


@pytest.mark.parametrize(("frame", "ids"), TOLD.values(), ids=TOLD)
async def test_only_what_changes_a_prompt_is_heard_and_nothing_breaks_the_socket(
    session: aiohttp.ClientSession, frame: str | bytes, ids: list[str | None]
) -> None:
    heard: list[str | None] = []
    async with saying([frame, LAST]) as url, WorkerSockets(session).listen(url, heard.append) as sid:
        await until(lambda: "last" in heard, "what comes after is heard")
        assert sid()
        assert heard == [None, *ids, "last"]
