from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from gateway.adapters.relay import new_session
from gateway.adapters.sockets import Listener, WorkerSockets
from gateway.domain.frames import Kind, parse
from gateway.emulator.serve import Running, running
from gateway.emulator.settings import EmulatorSettings
from tests.conformance.client import failing, picture, sleeping
from tests.servers import until
from tests.wire import nobody, read_head
from tests.wire import worker as mute_worker

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(30)]

IDS = [f"00000000-0000-4000-8000-{number:012}" for number in range(5)]


@dataclass
class Ear:
    """A Hearing that only remembers."""

    raws: list[str | bytes] = field(default_factory=list)
    came: int = 0
    went: int = 0
    needed: Callable[[str], bool] = lambda _: False

    def frame(self, raw: str | bytes) -> None:
        self.raws.append(raw)

    def connected(self) -> None:
        self.came += 1

    def lost(self) -> None:
        self.went += 1

    def needs(self, sid: str) -> bool:
        return self.needed(sid)

    def of(self, id: str) -> list[Kind]:
        """What was heard of one attempt."""
        return [frame.kind for frame in map(parse, self.raws) if frame.attempt == id]

    def has_ended(self, id: str) -> bool:
        return any(frame.idle and frame.attempt == id for frame in map(parse, self.raws))


@pytest.fixture
async def session(anyio_backend: str) -> AsyncIterator[aiohttp.ClientSession]:
    async with new_session(connect_timeout=2) as session:
        yield session


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(EmulatorSettings(directory=tmp_path)) as started:
        yield started


@asynccontextmanager
async def listening(
    session: aiohttp.ClientSession, url: str, ear: Ear, older: str = "", *, wait: bool = True
) -> AsyncIterator[Listener]:
    """Connected, when the body begins; no task is left after it."""
    before = asyncio.all_tasks()
    async with WorkerSockets(session).listen(url, ear, older) as listener:
        if wait:
            await until(lambda: listener.sid, "it is connected")
        yield listener
    assert not [task for task in asyncio.all_tasks() - before if task.get_name().startswith("listen")]


async def post(session: aiohttp.ClientSession, url: str, graph: Any, id: str, sid: str) -> None:
    body = {"prompt": graph, "prompt_id": id, "client_id": sid}
    async with session.post(f"{url}/prompt", json=body) as reply:
        assert reply.status == 200


async def cut(worker: Running) -> None:
    """All its sockets break, and it stays."""
    for socket in list(worker.worker.hub._sockets.values()):
        transport = socket._req.transport if socket._req is not None else None
        assert transport is not None
        transport.abort()


async def test_what_happens_to_a_prompt_is_heard(session: aiohttp.ClientSession, worker: Running) -> None:
    ear = Ear()
    async with listening(session, worker.url, ear) as listener:
        assert (ear.came, ear.went) == (1, 0)
        for id, graph in ((IDS[0], picture()), (IDS[1], failing())):
            await post(session, worker.url, graph, id, listener.sid)
            await until(lambda id=id: ear.has_ended(id), "its end is heard")  # type: ignore[misc]
            assert ear.of(id)[0] is Kind.START
        assert Kind.SUCCESS in ear.of(IDS[0])
        assert Kind.ERROR in ear.of(IDS[1])


async def test_previews_come_with_their_metadata(session: aiohttp.ClientSession, worker: Running) -> None:
    ear, graph = Ear(), sleeping(0.1)
    graph["2"]["inputs"]["preview"] = True
    async with listening(session, worker.url, ear) as listener:
        await until(lambda: Kind.FLAGS in [parse(raw).kind for raw in ear.raws], "its flags are answered")
        await post(session, worker.url, graph, IDS[0], listener.sid)
        await until(lambda: Kind.PREVIEW in ear.of(IDS[0]), "a preview that says whose it is")


async def test_each_connection_has_a_name_of_its_own(session: aiohttp.ClientSession, worker: Running) -> None:
    """Two under one name would make that worker deaf to both."""
    first, second = Ear(), Ear()
    async with listening(session, worker.url, first) as one, listening(session, worker.url, second) as two:
        assert one.sid != two.sid
        await post(session, worker.url, picture(), IDS[0], two.sid)
        await until(lambda: second.has_ended(IDS[0]), "the second hears its own")
        await post(session, worker.url, picture(), IDS[1], one.sid)
        await until(lambda: first.has_ended(IDS[1]), "the first hears its own")
    assert first.of(IDS[0]) == second.of(IDS[1]) == []


async def test_a_worker_that_comes_back_is_listened_to_again(session: aiohttp.ClientSession, tmp_path: Path) -> None:
    ear = Ear()
    async with running(EmulatorSettings(directory=tmp_path)) as worker:
        port = int(worker.url.rpartition(":")[2])
        async with listening(session, worker.url, ear) as listener:
            before = listener.sid
            await post(session, worker.url, failing("exit"), IDS[0], before)
            await worker.died()
            await until(lambda: ear.went, "the loss is noticed")
            assert listener.sid == ""
            async with running(EmulatorSettings(directory=tmp_path), port=port) as again:
                await until(lambda: listener.sid, "it is connected again")
                assert listener.sid != before
                assert ear.came == 2
                await post(session, again.url, picture(), IDS[1], listener.sid)
                await until(lambda: ear.has_ended(IDS[1]), "it is heard again")


async def test_a_worker_that_is_away_is_waited_for_in_silence(session: aiohttp.ClientSession) -> None:
    ear = Ear()
    async with listening(session, nobody(), ear, wait=False) as listener:
        await until(lambda: ear.went, "it was tried")
        assert listener.sid == ""
        assert not listener.followers, "nothing was ever posted there"
    assert (ear.came, ear.raws) == (0, [])


async def test_one_that_is_known_to_answer_is_connected_to_at_once(
    session: aiohttp.ClientSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.adapters.sockets._RETRY", 1000.0)
    url, ear = nobody(), Ear()
    async with listening(session, url, ear, wait=False) as listener:
        await until(lambda: ear.went, "it was tried in vain")
        async with running(EmulatorSettings(directory=tmp_path), port=int(url.rpartition(":")[2])):
            assert await listener.joined() == listener.sid != ""
            assert await listener.joined() == listener.sid
    assert ear.came == 1


async def test_nobody_waits_for_long_for_one_that_cannot_be_connected_to(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.adapters.sockets._JOINING", 0.2)
    async with listening(session, nobody(), Ear(), wait=False) as listener:
        assert await asyncio.wait_for(listener.joined(), 5) == ""


async def test_the_rest_of_a_prompt_is_heard_after_its_socket_broke(
    session: aiohttp.ClientSession, worker: Running
) -> None:
    ear = Ear()
    async with listening(session, worker.url, ear) as listener:
        before = listener.sid
        await post(session, worker.url, sleeping(1.0), IDS[0], before)
        await until(lambda: Kind.PROGRESS in ear.of(IDS[0]), "it runs")
        await cut(worker)
        await until(lambda: ear.came == 2, "it is connected again")
        assert listener.sid not in ("", before)
        await until(lambda: ear.has_ended(IDS[0]), "its end is heard under the old name")
        await post(session, worker.url, picture(), IDS[1], before)
        await until(lambda: ear.has_ended(IDS[1]), "and what is still posted under it in the next seconds")
        await post(session, worker.url, picture(), IDS[2], listener.sid)
        await until(lambda: ear.has_ended(IDS[2]), "and what is posted under the new one")


async def test_an_old_name_is_dropped_when_nothing_needs_it_any_more(
    session: aiohttp.ClientSession, worker: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.adapters.sockets._LINGER", 0.2)
    ear, needed = Ear(), True
    ear.needed = lambda _: needed
    async with listening(session, worker.url, ear) as listener:
        before = listener.sid
        await cut(worker)
        await until(lambda: len(worker.worker.hub._sockets) == 2, "both names listen")
        assert before in worker.worker.hub._sockets
        needed = False
        worker.worker.hub.post("wake", {}, before)
        await until(lambda: not listener.followers, "the old one has gone", timeout=5)
        await until(lambda: [*worker.worker.hub._sockets] == [listener.sid], "one listens")


async def test_what_a_worker_says_to_all_is_heard_once(session: aiohttp.ClientSession, worker: Running) -> None:
    """Though two connections of ours hear it."""
    ear = Ear(needed=lambda _: True)
    async with listening(session, worker.url, ear, older="as-before") as listener:
        hub = worker.worker.hub
        await until(lambda: len(hub._sockets) == 2, "both names listen")
        text = b"\x00\x00\x00\x03\x00\x00\x00\x012all"
        for _ in range(3):
            hub.post("custom", {"n": 1})
            hub.post("text", text)
        for sid in ("as-before", listener.sid):
            hub.post("execution_success", {"prompt_id": sid}, sid)
        await until(lambda: ear.of("as-before") and ear.of(listener.sid), "both were heard")
    assert ear.raws.count('{"type": "custom", "data": {"n": 1}}') == 3
    assert ear.raws.count(text) == 3


async def test_a_deaf_connection_is_renewed_and_its_name_still_heard(
    session: aiohttp.ClientSession, worker: Running
) -> None:
    ear = Ear()
    async with listening(session, worker.url, ear) as listener:
        before = listener.sid
        hub = worker.worker.hub
        hub._sockets.pop(before)  # as after the end of another socket of that name (contract 4.1)
        await listener.renew()
        await until(lambda: listener.sid not in ("", before), "it has another name")
        await until(lambda: len(hub._sockets) == 2, "and the old one is heard as well")
        await post(session, worker.url, picture(), IDS[0], before)
        await until(lambda: ear.has_ended(IDS[0]), "what was posted under it is heard")


async def test_a_handshake_that_is_not_answered_is_given_up(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.adapters.sockets._HANDSHAKE", 0.2)
    asked = asyncio.Event()

    async def mute(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await read_head(reader)
        asked.set()
        await reader.read()

    ear = Ear()
    async with mute_worker(mute) as url, listening(session, url, ear, wait=False):
        await until(asked.is_set, "it was asked")
        await until(lambda: ear.went, "it is given up")


async def test_a_worker_that_answers_no_ping_is_connected_to_again(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.adapters.sockets._PING_EVERY", 0.2)
    pings: list[bytes] = []

    async def frozen(request: web.Request) -> web.StreamResponse:
        said = web.WebSocketResponse(autoping=False)
        await said.prepare(request)
        async for message in said:
            pings.extend([message.data] if message.type is aiohttp.WSMsgType.PING else [])
        return said

    ear = Ear()
    async with socket_of(frozen) as url, listening(session, url, ear):
        await until(lambda: ear.came == 2, "it is given up, and there is another connection")
    assert pings


@asynccontextmanager
async def saying(frames: Sequence[str | bytes]) -> AsyncIterator[str]:
    """A worker whose socket says these frames and stays open."""

    async def telling(request: web.Request) -> web.StreamResponse:
        said = web.WebSocketResponse()
        await said.prepare(request)
        for frame in frames:
            await (said.send_bytes(frame) if isinstance(frame, bytes) else said.send_str(frame))
        async for _ in said:
            pass
        return said

    async with socket_of(telling) as url:
        yield url


@asynccontextmanager
async def socket_of(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/ws", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_every_frame_is_handed_on_as_it_came_and_none_breaks_the_socket(session: aiohttp.ClientSession) -> None:
    frames: list[str | bytes] = ["", "{", "[1, 2]", '{"n": NaN}', b"", b"\x00\x00\x00\x09x", "x" * 2**23, b"y" * 2**23]
    ear = Ear()
    async with saying(frames) as url, listening(session, url, ear) as listener:
        await until(lambda: len(ear.raws) == len(frames), "all are heard")
        assert listener.sid
    assert ear.raws == frames
    assert ear.went == 0
