"""The real gateway, or several on one state, in front of emulated or scripted workers, all on real sockets."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from gateway.app import build
from gateway.emulator.serve import Running, running
from gateway.emulator.settings import EmulatorSettings
from gateway.settings import Settings
from tests.scripted import Scripted
from tests.servers import serve, until

Graph = dict[str, Any]
SHORT: dict[str, Any] = {
    "poll_every": 0.2,
    "stats_every": 0.5,
    "catalogue_every": 5.0,
    "poll_timeout": 2.0,
    "connect_timeout": 1.0,
    "shutdown_grace": 0.05,
}


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Somebody with a client_id of its own (or none), at one gateway."""

    def __init__(self, http: aiohttp.ClientSession, url: str, client_id: str | None) -> None:
        self.url = url
        self.client_id = client_id
        self._http = http

    async def ask(self, method: str, path: str, **options: Any) -> Answer:
        async with self._http.request(method, self.url + path, **options) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str) -> Any:
        answer = await self.ask("GET", path)
        assert answer.status == 200, answer
        return answer.json

    async def send(self, path: str, body: Any = None) -> Answer:
        return await self.ask("POST", path, json=body)

    async def post(self, graph: Graph, **more: Any) -> Answer:
        owner = {"client_id": self.client_id} if self.client_id else {}
        return await self.send("/prompt", {"prompt": graph, **owner, **more})

    async def submit(self, graph: Graph, **more: Any) -> str:
        """Posts what must be taken; returns its id."""
        answer = await self.post(graph, **more)
        assert answer.status == 200, answer
        return str(answer.json["prompt_id"])

    async def record(self, id: str) -> dict[str, Any] | None:
        found: dict[str, Any] = await self.get(f"/history/{id}")
        return found.get(id)

    async def ended(self, id: str, timeout: float = 15.0) -> dict[str, Any]:
        """Its record, once it has one."""
        record: dict[str, Any] = await until(lambda: self.record(id), f"{id} ends", timeout=timeout)
        return record

    async def queue(self) -> tuple[list[str], list[str]]:
        """The ids that run and those that wait, these in their order."""
        told = await self.get("/queue")
        return [item[1] for item in told["queue_running"]], [item[1] for item in told["queue_pending"]]

    async def queue_is_empty(self) -> bool:
        return await self.queue() == ([], [])

    async def runs(self, id: str) -> None:
        """Wait until a worker is seen to run it."""
        await until(lambda: self._is_running(id), f"{id} runs")

    async def _is_running(self, id: str) -> bool:
        answer = await self.ask("GET", f"/gateway/jobs/{id}")
        return answer.status == 200 and answer.json["state"] == "running"

    async def job(self, id: str) -> dict[str, Any]:
        """As GET /gateway/jobs/{id} tells it."""
        told: dict[str, Any] = await self.get(f"/gateway/jobs/{id}")
        return told

    async def state(self, id: str) -> str:
        return str((await self.job(id))["state"])


@dataclass(frozen=True, slots=True)
class Farm:
    """`urls` are the gateways; the client of the farm itself talks to the first."""

    urls: Sequence[str]
    http: aiohttp.ClientSession

    def client(self, client_id: str | None = "", at: int = 0) -> Client:
        """Somebody new, or, with None, somebody without a client_id."""
        return Client(self.http, self.urls[at], uuid.uuid4().hex if client_id == "" else client_id)

    async def workers(self, at: int = 0) -> dict[str, dict[str, Any]]:
        told = await self.client(at=at).get("/gateway/workers")
        return {worker["name"]: worker for worker in told["workers"]}

    async def sees(self, at: int = 0, **states: str) -> None:
        """Wait until the workers named are in these states."""

        async def seen() -> bool:
            told = await self.workers(at)
            return all(name in told and told[name]["state"] == state for name, state in states.items())

        await until(seen, f"the workers are {states}")

    async def ready(self, at: int = 0) -> None:
        """Wait until every worker takes prompts."""

        async def all_up() -> bool:
            told = await self.workers(at)
            return all(worker["state"] == "up" and worker["node_classes"] for worker in told.values())

        await until(all_up, "all workers are up")


@asynccontextmanager
async def farm(
    state: str, *workers: Scripted | Running | str, replicas: int = 1, wait: bool = True, **settings: Any
) -> AsyncIterator[Farm]:
    """Workers are named w0, w1 … in their order; `settings` are the gateway's. `wait` for all of them to be up."""
    urls = [worker if isinstance(worker, str) else worker.url for worker in workers]
    named = tuple(f"w{number}={url}" for number, url in enumerate(urls))
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()))
        gateways = []
        for _ in range(replicas):
            app = build(Settings(workers=named, **SHORT | settings), state, lambda: False)
            gateways.append(await stack.enter_async_context(serve(app)))
        whole = Farm(gateways, http)
        if wait:
            await asyncio.gather(*(whole.ready(at) for at in range(replicas)))
        yield whole


@asynccontextmanager
async def emulated(*settings: EmulatorSettings) -> AsyncIterator[list[Running]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(running(one)) for one in settings]


def unique() -> int:
    """A seed that no cache knows."""
    return uuid.uuid4().int >> 66


def _image(color: int | None = None) -> Graph:
    color = unique() % 2**24 if color is None else color
    inputs = {"width": 16, "height": 16, "batch_size": 1, "color": color}
    return {"class_type": "EmptyImage", "inputs": inputs}


def _shown(node: str) -> Graph:
    return {"class_type": "PreviewImage", "inputs": {"images": [node, 0]}}


def picture() -> Graph:
    return {"1": _image(), "3": _shown("1")}


def timed(worker: Scripted, seconds: float) -> Graph:
    """A prompt that this worker says to have run for so long."""
    start = ["execution_start", {"prompt_id": "p", "timestamp": 1_000}]
    end = ["execution_success", {"prompt_id": "p", "timestamp": 1_000 + round(seconds * 1000)}]
    worker.more = {"status": {"status_str": "success", "completed": True, "messages": [start, end]}}
    return picture()


def sleeping(seconds: float = 30.0) -> Graph:
    """Takes so long, and can be interrupted every 20th of a second."""
    steps = max(1, round(seconds * 20))
    inputs = {"image": ["1", 0], "seconds": seconds, "steps": steps, "seed": unique(), "preview": False}
    return {"1": _image(), "2": {"class_type": "ProbeSleep", "inputs": inputs}, "3": _shown("2")}


def failing(how: str = "raise") -> Graph:
    return {
        "1": _image(),
        "2": {"class_type": "ProbeFail", "inputs": {"image": ["1", 0], "how": how}},
        "3": _shown("2"),
    }


def with_model(model: str) -> Graph:
    inputs = {"image": ["1", 0], "model": model, "load_seconds": 0.0}
    return {"1": _image(), "2": {"class_type": "ProbeModel", "inputs": inputs}, "3": _shown("2")}


def invalid() -> Graph:
    """No worker takes it, and no list decides that."""
    graph = picture()
    graph["1"]["inputs"]["width"] = "wide"
    return graph
