"""The short way to an answer, as ratios to what stands beside it in the same run. The margins are wide: what is looked
for is a cause that makes it several times slower, not the state of the machine. `scripts/bench fast` measures it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median

import aiohttp
import pytest
from aiohttp import web
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message

from bench._beside import Relay
from gateway.edge.table import Table
from tests.farm import farm, picture
from tests.scripted import Scripted, scripted
from tests.servers import serve

pytestmark = pytest.mark.anyio

_TURNS, _ABREAST, _EACH = 5, 16, 5


@asynccontextmanager
async def sending(body: bytes) -> AsyncIterator[str]:
    """A bare aiohttp.web server that answers everything with these bytes."""

    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def ratio(http: aiohttp.ClientSession, ours: str, beside: str) -> float:
    """How many times as fast these many are answered at `ours`; asked by turns, the median of them."""

    async def ask(url: str) -> None:
        for _ in range(_EACH):
            async with http.get(url) as reply:
                assert reply.status == 200
                await reply.read()

    async def turn(url: str) -> float:
        began = time.perf_counter()
        await asyncio.gather(*(ask(url) for _ in range(_ABREAST)))
        return time.perf_counter() - began

    await turn(ours)
    await turn(beside)
    turns = [(await turn(ours), await turn(beside)) for _ in range(_TURNS)]
    return median(theirs / mine for mine, theirs in turns)


async def test_what_is_in_memory_is_answered_about_as_fast_as_bytes_can_be_sent(state: str) -> None:
    async with scripted("w0") as worker, farm(state, worker) as gateway:
        client = gateway.client()
        id = await client.submit(picture())
        await worker.runs()
        worker.finish()
        await client.ended(id)
        for path in ("/prompt", "/queue", f"/history/{id}"):
            url = gateway.urls[0] + path
            async with gateway.http.get(url) as reply, sending(await reply.read()) as beside:
                before = worker.requests[f"GET {path}"]
                assert await ratio(gateway.http, url, beside) > 0.1, path
                assert worker.requests[f"GET {path}"] - before < 50, "the worker is polled, and not for each of them"


async def test_what_is_passed_through_takes_about_as_long_as_through_the_least_that_can_do_so(state: str) -> None:
    async with scripted("w0") as worker, farm(state, worker) as gateway, relay(worker) as beside:
        ours = f"{gateway.urls[0]}/gateway/workers/w0/system_stats"
        assert await ratio(gateway.http, ours, f"{beside}/system_stats") > 0.1


@asynccontextmanager
async def relay(worker: Scripted) -> AsyncIterator[str]:
    bare = Relay(worker.url)
    async with serve(bare) as url:
        yield url
        await bare.close()


async def _handler(request: Request) -> Response:
    return PlainTextResponse("")


async def test_a_path_is_found_without_trying_all_routes() -> None:
    paths = [f"/route/{number}/{{name}}/x" for number in range(60)]
    listed = Router([Route(path, _handler) for path in paths])
    table = Table([("GET", path, _handler) for path in [*paths, "/wanted"]], {}, listed)
    listed.routes.append(Route("/wanted", _handler))
    turns = [(await _cost(listed), await _cost(table)) for _ in range(_TURNS)]
    assert median(theirs / mine for theirs, mine in turns) > 1.5


async def _cost(app: ASGIApp) -> float:
    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        pass

    began = time.process_time()
    for _ in range(300):
        await app({"type": "http", "method": "GET", "path": "/wanted", "headers": []}, receive, send)
    return time.process_time() - began
