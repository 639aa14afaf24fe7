"""The cases of reading: what is answered from memory, what is passed through, and a big file."""

from __future__ import annotations

import asyncio
import json
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from bench._load import asked
from bench._rows import ROUNDS, Row, at_most, rates
from bench._servers import REST, TESTED, Server, fetched, gateway, haproxy, nginx, python, redis
from tests.farm import picture, sleeping

_WAITING = 20
_POLLS_A_SECOND = 5
_LONG = 4.0


def post(url: str, graph: Any, **more: Any) -> dict[str, Any]:
    body = json.dumps({"prompt": graph, **more}).encode()
    asking = urllib.request.Request(f"{url}/prompt", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asking, timeout=60) as reply:
        told: dict[str, Any] = json.loads(reply.read())
        return told


async def answers() -> list[Row]:
    """(a) From memory, beside an aiohttp.web server whose handler sends the same bytes."""
    async with (
        redis() as state,
        python(REST, "bench._workers", "1") as (_, workers),
        gateway(state, workers) as ours,
    ):
        id = post(ours.url, picture())["prompt_id"]
        while id not in json.loads(fetched(f"{ours.url}/history/{id}")):
            await asyncio.sleep(0.05)
        for _ in range(_WAITING):
            post(ours.url, sleeping(3600.0))
        await asyncio.sleep(1.0)
        paths = f"/history/{id}", "/prompt", "/queue"
        async with _same(ours, paths) as same:
            before = _asked_of(workers[0])
            named = (f"GET {path.replace(id, '{id}')}" for path in paths)
            rows = [
                await rates(name, ours, ("aiohttp.web", same), path, floor=0.8)
                for name, path in zip(named, paths, strict=True)
            ]
            seconds = 2 * len(paths) * (ROUNDS + 1)
            polls = (_asked_of(workers[0]) - before) / seconds
    return [*rows, at_most("requests that reached the worker meanwhile", "a second", polls, _POLLS_A_SECOND)]


@asynccontextmanager
async def _same(ours: Server, paths: tuple[str, ...]) -> AsyncIterator[Server]:
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            Path(folder, path[1:].replace("/", "+")).write_bytes(fetched(ours.url + path))
        async with python(TESTED, "bench._beside", "same", folder) as (same, _):
            for path in paths:
                assert fetched(same.url + path) == fetched(ours.url + path), f"{path} differs"
            yield same


def _asked_of(worker: str) -> int:
    """How many requests this worker has had."""
    return int(json.loads(fetched(f"{worker}/asked"))["asked"])


async def passed() -> list[Row]:
    """(b) and (c) Through us to a worker, beside the least that can do so, nginx and HAProxy."""
    async with (
        redis() as state,
        python(REST, "bench._beside", "static") as (static, _),
        gateway(state, [static.url]) as ours,
        python(TESTED, "bench._beside", "relay", static.url) as (relay, _),
        nginx(static.url) as web,
        haproxy(static.url) as proxy,
    ):
        rows = [await rates("a small GET, 32 connections", ours, ("bare relay", relay), "/small", floor=0.8)]
        beside = (("nginx", web, 0.07), ("haproxy", proxy, None))
        rows += [
            await rates("the same", ours, (name, server), "/small", floor=floor)
            for name, server, floor in beside
            if server is not None
        ]
        rows += await _many([("the same, 256 connections", ours), ("that of the relay", relay), ("that of nginx", web)])
        return rows + await _big(ours, web, relay)


async def _many(servers: Sequence[tuple[str, Server | None]]) -> list[Row]:
    """The rates at 256 connections beside those at 16, the first server's beside the second's, too.

    In turns that are long beside what it takes to open so many. What many connections cost a machine, by its caches,
    they cost every server; so the others stand beside ours.
    """
    there = {case: server for case, server in servers if server is not None}
    found: dict[str, list[tuple[float, float]]] = {case: [] for case in there}
    for _ in range(ROUNDS):
        for case, server in there.items():
            at_16 = await asked(server, "/small", connections=16, seconds=_LONG)
            at_256 = await asked(server, "/small", connections=256, seconds=_LONG)
            found[case].append((at_256.a_second, at_16.a_second))
    kept = {case: [many / few for many, few in rounds] for case, rounds in found.items()}
    rows = []
    for case, rounds in found.items():
        many, few = (median(each) for each in zip(*rounds, strict=True))
        rows.append(Row(case, "requests/s", many, few, "at 16", median(kept[case]), None))
    ours, relay, *_ = kept.values()
    beside = median(mine / other for mine, other in zip(ours, relay, strict=True))
    share = Row("what is left of it at 256", "%", 100 * median(ours), 100 * median(relay), "bare relay", beside, 0.9)
    return [replace(rows[0], floor=0.9), *rows[1:], share]


async def _big(ours: Server, web: Server | None, relay: Server) -> list[Row]:
    before = ours.memory
    beside = [("nginx", web, 0.9), ("bare relay", relay, None)]
    rows = [
        await rates("a 4 MB file, 8 connections", ours, (name, server), "/big.bin", floor=floor, connections=8)
        for name, server, floor in beside
        if server is not None
    ]
    return [*rows, at_most("memory that this took more", "MiB", max(0.0, ours.memory - before), 32.0)]
