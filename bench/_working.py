"""The cases of work: prompts taken in, what that adds to their time, and the gap on a worker between two of them."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp

from bench._asking import post
from bench._load import asked
from bench._rows import ROUNDS, Row, at_least, at_most, quantile
from bench._servers import REST, fetched, gateway, python, redis
from tests.farm import picture, sleeping

_ROOM = "--max-queue", "1000000", "--max-queue-per-caller", "1000000"
_A_SECOND, _SECONDS = 100, 10
_PROMPTS, _SLEEP = 160, 0.15


async def taken_in() -> list[Row]:
    """(d) How many prompts are put on record in each second of one core, while all workers are busy."""
    async with (
        redis() as state,
        python(REST, "bench._workers", "2") as (_, workers),
        gateway(state, workers, *_ROOM) as ours,
    ):
        for _ in workers:
            post(ours.url, sleeping(3600.0))
        body = json.dumps({"prompt": sleeping(1.0), "client_id": "bench"}).encode()
        rounds = [await asked(ours, "/prompt", connections=16, seconds=2, body=body) for _ in range(ROUNDS + 1)]
    found = rounds[1:]
    return [
        at_least("POST /prompt, all wait", "a core", median(rate.a_core for rate in found), 400.0),
        Row("the same, on the wall", "a second", median(rate.a_second for rate in found), 400.0, "limit",
            median(rate.a_second for rate in found) / 400.0, None),
    ]  # fmt: skip


async def added() -> list[Row]:
    """(d) What is added to the time of a post, at a hundred a second, beside one to a worker that is busy as well."""
    async with (
        redis() as state,
        python(REST, "bench._workers", "5") as (_, workers),
        gateway(state, workers[1:], *_ROOM) as ours,
        aiohttp.ClientSession() as http,
    ):
        for url in (workers[0], *(ours.url for _ in workers[1:])):
            post(url, sleeping(3600.0))
        times: dict[str, list[float]] = {ours.url: [], workers[0]: []}
        for url in times:
            await _one(http, url, [])
        beginning = time.perf_counter()
        tasks = []
        for number in range(_A_SECOND * _SECONDS):
            await asyncio.sleep(max(0.0, beginning + number / _A_SECOND - time.perf_counter()))
            tasks += [asyncio.create_task(_one(http, url, found)) for url, found in times.items()]
        await asyncio.gather(*tasks)
    through, direct = times.values()
    rows = []
    for name, share, limit in (("median", 0.5, 5.0), ("99th percentile", 0.99, 15.0)):
        more = 1000 * (quantile(through, share) - quantile(direct, share))
        rows.append(at_most(f"POST /prompt at {_A_SECOND}/s: added, {name}", "ms", max(more, 0.01), limit))
    return rows


async def _one(http: aiohttp.ClientSession, url: str, times: list[float]) -> None:
    body = {"prompt": picture(), "client_id": "bench"}
    began = time.perf_counter()
    async with http.post(f"{url}/prompt", json=body) as reply:
        assert reply.status == 200, await reply.text()
        await reply.read()
    times.append(time.perf_counter() - began)


async def gaps() -> list[Row]:
    """(e) From the end of one prompt to the start of the next, by the worker's own clock in their records.

    Beside it: the same prompts in the queue of one worker by itself.
    """
    async with redis() as state, AsyncExitStack() as stack:
        urls = [await _emulated(stack) for _ in range(3)]
        ours = await stack.enter_async_context(gateway(state, urls[1:]))
        through = await _ran(ours.url, _PROMPTS)
        alone = await _ran(urls[0], _PROMPTS // 4)
    rows = []
    for name, share, limit in (("median", 0.5, 20.0), ("99th percentile", 0.99, 60.0)):
        rows.append(at_most(f"gap between two prompts, {name}", "ms", quantile(through, share), limit))
        own = quantile(alone, share)
        ratio = own / max(quantile(through, share), 1.0)
        rows.append(Row("the same", "ms", quantile(through, share), own, "its own queue", ratio, None))
    return rows


async def _emulated(stack: AsyncExitStack) -> str:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    flags = ["--port", "0", "--directory", str(folder)]
    server, _ = await stack.enter_async_context(python(REST, "gateway.emulator", *flags))
    return server.url


async def _ran(url: str, count: int) -> list[float]:
    """Milliseconds between prompts that waited all along, on whichever worker each ran."""
    ids = [post(url, sleeping(_SLEEP), client_id="bench")["prompt_id"] for _ in range(count)]
    for _ in range(int(count * _SLEEP) * 10 + 300):
        history: dict[str, Any] = json.loads(await asyncio.to_thread(fetched, f"{url}/history"))
        if all(id in history for id in ids):
            break
        await asyncio.sleep(0.2)
    by_worker: dict[str, list[tuple[float, float]]] = {}
    for id in ids:
        by_worker.setdefault(_worker_of(url, id), []).append(_span(history[id]))
    return [gap for spans in by_worker.values() for gap in _between(sorted(spans))]


def _between(spans: Sequence[tuple[float, float]]) -> list[float]:
    return [start - end for (_, end), (start, _) in pairwise(spans)]


def _span(record: dict[str, Any]) -> tuple[float, float]:
    told = dict(record["status"]["messages"])
    return told["execution_start"]["timestamp"], told["execution_success"]["timestamp"]


def _worker_of(url: str, id: str) -> str:
    try:
        return str(json.loads(fetched(f"{url}/gateway/jobs/{id}"))["worker"])
    except OSError:
        return ""
