"""What the conformance tests say to a server, and the small graphs they say it with."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.conformance.differences import Difference

Graph = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """A server under test, and what may be expected of it."""

    url: str
    is_new: bool
    """Answers like 0.38.1, not like 0.3.64."""
    is_gateway: bool = False
    models: tuple[str, ...] = ()

    def differs(self, difference: Difference) -> bool:
        """Whether this is a gateway, which differs there on purpose."""
        assert difference
        return self.is_gateway


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class Client:
    """One user of the server, with a client_id of its own."""

    def __init__(self, target: Target, http: aiohttp.ClientSession) -> None:
        self.target = target
        self.http = http
        self.client_id = uuid.uuid4().hex

    async def ask(self, method: str, path: str, **options: Any) -> Answer:
        async with self.http.request(method, self.target.url + path, **options) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str, /, **params: Any) -> Answer:
        return await self.ask("GET", path, params=params or None)

    async def post(self, path: str, body: Any = None, **options: Any) -> Answer:
        return await self.ask("POST", path, json=body, **options)

    async def submit(self, graph: Graph, **more: Any) -> str:
        """Posts a prompt that must be taken; returns its id."""
        answer = await self.post("/prompt", {"prompt": graph, "client_id": self.client_id, **more})
        assert answer.status == 200, answer.text
        prompt_id: str = answer.json["prompt_id"]
        return prompt_id

    async def record(self, prompt_id: str) -> dict[str, Any] | None:
        found: dict[str, Any] = (await self.get(f"/history/{prompt_id}")).json
        return found.get(prompt_id)

    async def finished(self, prompt_id: str, timeout: float = 20) -> dict[str, Any]:
        """Its record, once it has one."""
        async with asyncio.timeout(timeout):
            while (record := await self.record(prompt_id)) is None:
                await asyncio.sleep(0.02)
            return record

    async def run(self, graph: Graph, **more: Any) -> dict[str, Any]:
        return await self.finished(await self.submit(graph, **more))

    async def queue(self) -> tuple[list[str], list[str]]:
        """The ids that run and that wait, the latter in the order in which they will run."""
        told = (await self.get("/queue")).json
        pending = sorted(told["queue_pending"], key=lambda item: (item[0], item[1]))
        return [item[1] for item in told["queue_running"]], [item[1] for item in pending]

    async def running(self, prompt_id: str, timeout: float = 20) -> None:
        """Waits until it runs; raises TimeoutError."""
        async with asyncio.timeout(timeout):
            while prompt_id not in (await self.queue())[0]:
                await asyncio.sleep(0.02)

    @asynccontextmanager
    async def on_one_worker(self) -> AsyncIterator[None]:
        """A gateway runs all on one of its workers meanwhile, so that its cache tells what one ComfyUI's would."""
        others: list[str] = []
        if self.target.is_gateway:
            workers = (await self.get("/gateway/workers")).json["workers"]
            others = [worker["name"] for worker in workers if worker["state"] == "up"][1:]
        for name in others:
            assert (await self.post(f"/gateway/workers/{name}/drain")).status == 200
        try:
            yield
        finally:
            for name in others:
                await self.post(f"/gateway/workers/{name}/resume")

    @asynccontextmanager
    async def busy(self, seconds: float = 8.0) -> AsyncIterator[str]:
        """Keeps a worker busy with one prompt of this client, interrupted at the end."""
        prompt_id = await self.submit(sleeping(seconds))
        await self.running(prompt_id)
        try:
            yield prompt_id
        finally:
            await self.post("/interrupt", {"prompt_id": prompt_id})
            await self.finished(prompt_id)


def unique() -> int:
    """A seed that no cache knows."""
    return uuid.uuid4().int >> 66


def picture(prefix: str = "conformance", color: int | None = None) -> Graph:
    """Makes and saves one small picture."""
    inputs = {"width": 32, "height": 16, "batch_size": 1, "color": unique() % 2**24 if color is None else color}
    return {
        "1": {"class_type": "EmptyImage", "inputs": inputs},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": prefix}},
    }


def sleeping(seconds: float, steps: int | None = None) -> Graph:
    """Takes so long, ten steps a second, and previews a picture."""
    inputs = {
        "image": ["1", 0],
        "seconds": seconds,
        "steps": steps or max(1, round(seconds * 10)),
        "seed": unique(),
        "preview": False,
    }
    return {
        "1": picture()["1"],
        "2": {"class_type": "ProbeSleep", "inputs": inputs},
        "3": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}},
    }


def failing(how: str = "raise") -> Graph:
    return {
        "1": picture()["1"],
        "4": {"class_type": "ProbeFail", "inputs": {"image": ["1", 0], "how": how}},
        "3": {"class_type": "PreviewImage", "inputs": {"images": ["4", 0]}},
    }


def files(record: dict[str, Any]) -> list[dict[str, str]]:
    """All pictures of a record."""
    return [file for output in record["outputs"].values() for file in output.get("images", ())]
