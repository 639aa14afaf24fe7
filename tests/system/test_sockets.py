"""Fifty clients of the event socket over eight workers, while sockets on both sides come and go."""

from __future__ import annotations

import asyncio
import random
import socket
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest

from gateway.emulator.serve import Running
from gateway.emulator.settings import EmulatorSettings
from tests.farm import emulated, sleeping
from tests.servers import StateServer, until
from tests.system.processes import SLOW, Farm, Process

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(SLOW)]

CLIENTS, PROMPTS, WORKERS = 50, 20, 8
ENDS = ("execution_success", "execution_error", "execution_interrupted")


@dataclass
class Client:
    """Posts prompts, two at a time, and writes down what its sockets, one after the other, are told."""

    http: aiohttp.ClientSession
    url: str
    rng: random.Random
    drops: bool
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    ids: list[str] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)
    """(type, prompt_id) of all that names a prompt; `idle` for `executing` of no node."""
    open: set[str] = field(default_factory=set)
    bell: asyncio.Event = field(default_factory=asyncio.Event)
    read: set[str] = field(default_factory=set)
    """Prompts whose end it read in the history, as browsers do when they are back."""
    sockets: int = 0
    greeted: bool = False

    async def live(self) -> None:
        """Until all of its prompts have ended and it knows."""
        listening = asyncio.create_task(self._listen())
        try:
            if not self.drops:
                await until(lambda: self.greeted or listening.done(), "it listens before it posts", timeout=60)
            for _ in range(PROMPTS):
                await self._fewer_than(2, listening)
                await self._post()
            await self._fewer_than(1, listening)
        finally:
            listening.cancel()
        (problem,) = await asyncio.gather(listening, return_exceptions=True)
        assert isinstance(problem, asyncio.CancelledError), problem

    async def _fewer_than(self, count: int, listening: asyncio.Task[None]) -> None:
        """Of its prompts are open, or it cannot listen any more."""
        listening.add_done_callback(lambda _: self.bell.set())
        async with asyncio.timeout(60):
            while len(self.open) >= count and not listening.done():
                self.bell.clear()
                await self.bell.wait()

    async def _post(self) -> None:
        id = str(uuid.uuid4())
        self.ids.append(id)
        self.open.add(id)  # its start may be told before its 200
        body = {"prompt": sleeping(self.rng.choice((0.05, 0.1))), "client_id": self.id, "prompt_id": id}
        async with self.http.post(f"{self.url}/prompt", json=body) as reply:
            assert reply.status == 200, await reply.text()

    async def _listen(self) -> None:
        while True:
            self.sockets += 1
            async with self.http.ws_connect(f"{self.url}/ws?clientId={self.id}") as ear:
                self._hear(await ear.receive(timeout=60))
                self.greeted = True
                if self.sockets > 1:
                    await self._look()
                stays = self.rng.uniform(0.2, 2.0) if self.drops else 1e9
                with_in = time.monotonic() + stays
                while (left := with_in - time.monotonic()) > 0:
                    try:
                        message = await ear.receive(timeout=min(left, 60))
                    except TimeoutError:
                        break
                    self._hear(message)
            await asyncio.sleep(self.rng.uniform(0.0, 0.3))

    async def _look(self) -> None:
        for id in tuple(self.open):
            async with self.http.get(f"{self.url}/history/{id}") as reply:
                found = (await reply.json()).keys() & self.open
            self.read |= found
            self.open -= found
        self.bell.set()

    def _hear(self, message: aiohttp.WSMessage) -> None:
        assert message.type is aiohttp.WSMsgType.TEXT, message
        told = message.json()
        data = told["data"]
        if told["type"] == "status":
            assert data.get("sid", self.id) == self.id
            return
        assert data["prompt_id"] in self.ids, f"a frame of another's prompt: {told}"
        idle = told["type"] == "executing" and data["node"] is None
        self.told.append(("idle" if idle else told["type"], data["prompt_id"]))
        if idle:
            self.open.discard(data["prompt_id"])
            self.bell.set()


def unstarted(client: Client) -> list[Any]:
    """What was told of prompts of which the start was not told first."""
    told = {id: [type for type, of in client.told if of == id] for id in client.ids}
    return [(id, kinds) for id, kinds in told.items() if kinds[:1] != ["execution_start"]]


def wrong(client: Client) -> list[Any]:
    """What was told twice, or otherwise than start, events, end, idle."""
    found: list[Any] = []
    for id in client.ids:
        kinds = [type for type, of in client.told if of == id]
        counts = Counter(kinds)
        if any(counts[kind] > 1 for kind in ("idle", "execution_start", *ENDS)):
            found.append(("twice", id, kinds))
        if id not in client.read and kinds[-2:] != ["execution_success", "idle"]:
            found.append(("not in order", id, kinds))
    return found


@contextmanager
def stalled(url: str, client_id: str) -> Iterator[None]:
    """A client that asks for its socket, and never reads."""
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as client:
        lines = (
            f"GET /ws?clientId={client_id} HTTP/1.1",
            "Host: 127.0.0.1",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        )
        client.sendall("\r\n".join((*lines, "", "")).encode())
        yield


async def cut(worker: Running) -> None:
    """Its sockets break while something runs."""
    hub = worker.worker.hub
    await until(lambda: hub._sockets and worker.worker.queue.remaining(), "it is busy")
    for one in list(hub._sockets.values()):
        assert one._req is not None
        assert one._req.transport is not None
        one._req.transport.abort()


async def test_every_client_is_told_of_its_own_prompts_once_and_in_order(farm: Farm, short_path: Path) -> None:
    rng = random.Random(20)
    settings = [EmulatorSettings(directory=short_path / f"w{number}") for number in range(WORKERS)]
    async with AsyncExitStack() as stack:
        workers = await stack.enter_async_context(emulated(*settings))
        named = [cast("Process", SimpleNamespace(name=f"w{n}", url=worker.url)) for n, worker in enumerate(workers)]
        gateway = farm.gateway("gateway", named, "--log-level", "warning")
        await gateway.start()
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        clients = [Client(http, gateway.url, random.Random(n), drops=n % 2 == 1) for n in range(CLIENTS)]
        dull = Client(http, gateway.url, rng, drops=False)
        stack.enter_context(stalled(gateway.url, dull.id))
        for _ in range(PROMPTS):
            await dull._post()
        began = time.monotonic()
        living = asyncio.gather(*(client.live() for client in clients))
        for share, worker in ((0.2, workers[0]), (0.5, workers[1])):
            goal = share * CLIENTS * PROMPTS
            await until(lambda goal=goal: living.done() or ended(clients) > goal, "some end", timeout=60)  # type: ignore[misc]
            await cut(worker)
        await living
        print(f"{CLIENTS * PROMPTS} prompts in {time.monotonic() - began:.1f} s", sum(len(c.read) for c in clients))
        async with http.get(f"{gateway.url}/history") as reply:
            history = await reply.json()
    assert sum(client.sockets for client in clients) > 2 * CLIENTS, "hardly anybody came and went"
    assert [problem for client in clients for problem in wrong(client)] == []
    assert [lost for client in clients if not client.drops for lost in unstarted(client)] == []
    everybody = {id for client in (*clients, dull) for id in client.ids}
    assert history.keys() == everybody
    assert all(record["status"]["completed"] for record in history.values())


async def test_a_client_of_one_process_follows_what_it_posted_to_another(
    farm: Farm, durable: StateServer, http: aiohttp.ClientSession
) -> None:
    workers = await farm.workers(w0="a")
    gateways = [farm.gateway(name, workers, state=durable.url) for name in ("east", "west")]
    for gateway in gateways:
        await gateway.start()
    for at, to in ((0, 1), (1, 0)):
        client = Client(http, gateways[at].url, random.Random(0), drops=False)
        async with http.ws_connect(f"{client.url}/ws?clientId={client.id}") as ear:
            client._hear(await ear.receive(timeout=30))
            client.url = gateways[to].url
            for _ in range(3):
                await client._post()
            while client.open:
                client._hear(await ear.receive(timeout=30))
        assert wrong(client) == unstarted(client) == []
        for id in client.ids:
            kinds = [kind for kind, of in client.told if of == id]
            assert {"executing", "progress", "progress_state", "executed"} < set(kinds)


def ended(clients: list[Client]) -> int:
    return sum(len(client.ids) - len(client.open) for client in clients)
