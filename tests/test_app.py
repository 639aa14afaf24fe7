"""The whole, put together: it opens, serves, and closes without leaving anything behind."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from gateway.app import build
from gateway.settings import Settings
from tests.farm import SHORT, Client, farm, picture
from tests.scripted import Scripted, scripted
from tests.servers import StateServer, serve, until

pytestmark = pytest.mark.anyio


async def test_building_it_connects_to_nothing() -> None:
    build(Settings(workers=("http://127.0.0.1:9",)), "redis://127.0.0.1:9", lambda: False)


async def test_two_gateways_live_in_one_process(state: str) -> None:
    async with scripted() as worker, farm(state, worker, replicas=2) as gateway:
        for at in (0, 1):
            client = gateway.client(at=at)
            assert (await client.ask("GET", "/healthz")).status == 200
            assert (await client.ask("GET", "/readyz")).json == {"ready": True, "problems": {}}
            assert (await client.ask("GET", "/metrics")).status == 200


async def test_zero_workers_is_ready(state: str) -> None:
    async with farm(state) as gateway:
        assert (await gateway.client().ask("GET", "/readyz")).status == 200


async def test_leaving_is_not_ready(state: str) -> None:
    leaving = False
    app = build(Settings(**SHORT), state, lambda: leaving)
    async with serve(app) as url, aiohttp.ClientSession() as http:
        client = Client(http, url, None)
        assert (await client.ask("GET", "/readyz")).status == 200
        leaving = True
        answer = await client.ask("GET", "/readyz")
        assert (answer.status, answer.json["problems"]) == (503, {"process": "is leaving"})
        assert (await client.ask("GET", "/queue")).status == 200


async def test_nothing_runs_on_when_it_is_closed(state: str) -> None:
    before = asyncio.all_tasks()
    async with scripted() as worker:
        async with farm(state, worker) as gateway:
            await gateway.client().submit(picture())
        await until(lambda: not worker.connected, "its sockets are closed")
        seen = worker.requests.copy()
    await until(lambda: asyncio.all_tasks() <= before, "all its tasks have ended")
    assert worker.requests == seen


async def test_what_was_accepted_is_there_when_it_comes_back(state: str) -> None:
    async with scripted() as worker:
        async with farm(state, worker) as gateway:
            client = gateway.client("me")
            running, waiting = [await client.submit(picture()) for _ in range(2)]
        worker.finish()
        async with farm(state, worker) as gateway:
            client = gateway.client("me")
            assert (await client.ended(running))["status"]["completed"]
            await worker.runs(2)
            worker.finish()
            await client.ended(waiting)
            assert worker.prompts() == [running, waiting]
            assert list(await client.get("/history")) == [running, waiting]


async def test_a_state_that_is_away_is_told_and_survived(short_path: Path) -> None:
    server = StateServer(short_path, durable=True)
    server.start()
    try:
        async with scripted() as worker, farm(server.url, worker) as gateway:
            await _survives(server, worker, gateway.client())
    finally:
        server.kill()


async def _survives(server: StateServer, worker: Scripted, client: Client) -> None:
    id = await client.submit(picture())
    await client.runs(id)
    server.kill()
    for method, path in (("GET", "/queue"), ("GET", "/readyz")):
        answer = await client.ask(method, path)
        assert answer.status == 503, path
    refused = await client.post(picture())
    assert refused.status == 503
    assert int(refused.headers["Retry-After"]) > 0
    assert (await client.ask("GET", "/healthz")).status == 200
    worker.finish()
    server.start()
    assert (await client.ended(id))["status"]["completed"]
    assert worker.prompts() == [id]


async def test_settings_are_kept_to_their_prefix(state: str) -> None:
    """Two farms on one Redis know nothing of each other."""
    async with scripted() as worker, farm(state, worker, prefix="one") as one, farm(state, prefix="two") as two:
        await one.client().submit(picture())
        assert await two.client().queue() == ([], [])
        assert await two.workers() == {}


async def test_a_body_over_the_limit_is_refused(state: str) -> None:
    async with farm(state, max_upload=2000) as gateway:
        client = gateway.client()
        answer = await client.ask("POST", "/prompt", data=b"x" * 2001)
        assert (answer.status, answer.body) == (413, b"Maximum request body size 2000 exceeded.")
