"""What a prompt costs must not grow with what waits, nor with what a worker tells by itself; ratios and counts only.
`scripts/bench fast` measures a thousand workers and a hundred thousand prompts."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace

import pytest

from gateway.adapters.comfy import ComfyApi
from gateway.adapters.relay import new_session
from gateway.domain.ids import WorkerName
from gateway.domain.jobs import Running
from gateway.domain.ports import Limits, Won, WorkerEntry
from gateway.domain.workers import Up
from tests.adapters.stores import DONE, Store, attempt, new
from tests.domain.catalogues import BASE, info
from tests.flows.replica import Replica, given, replica, watching
from tests.scripted import Scripted, scripted

pytestmark = pytest.mark.anyio

_ROOM = Limits(max_queue=10**6, max_queue_bytes=10**9, max_queue_per_caller=10**6)
_FEW, _MANY, _RUN = 150, 1500, 40
_W = WorkerName("w0")


async def test_what_a_prompt_costs_does_not_grow_with_what_waits(state: str) -> None:
    async with replica(state) as core:
        await _up(core)
        await _fill(core.store, 0, _FEW + _RUN)
        few = await _cost(core)
        await _fill(core.store, _FEW + _RUN, _MANY + _RUN)
        many = await _cost(core)
        assert many < 3 * few, f"{many / few:.1f} times as much with {_MANY / _FEW:.0f} times as many waiting"


async def test_all_that_changed_is_told_by_one_answer(state: str) -> None:
    async with replica(state) as core:
        await core.mirror.fresh()
        await _fill(core.store, 0, 50)
        before = await _reads(core)
        await core.mirror.fresh()
        assert len(core.mirror.live) == 50
        assert await _reads(core) - before <= 3, "whether there is something, what it is, and the count of questions"


async def test_a_worker_that_tells_what_it_runs_is_not_asked(state: str) -> None:
    async with scripted("w0") as worker, replica(state) as core, new_session(connect_timeout=1) as session:
        tried, now = await given(core, worker), [1000.0]
        watch = watching(core, ComfyApi(session, connect_timeout=1), now)
        watch.heard = lambda: now[0]
        watch.began(tried.id)
        for _ in range(9):
            await core.mirror.fresh()
            await watch.look(core.mirror.workers[_W])
            now[0] += 1.0
        job = await core.store.job(new("p").id)
        assert job is not None
        assert isinstance(job.state, Running)
        assert not _asked(worker), "it has said so itself"
        watch.over(tried.id)
        now[0] += 0.01
        await watch.look(core.mirror.workers[_W])
        assert not _asked(worker), "it will say when the record is there"
        now[0] += 0.1
        await watch.look(core.mirror.workers[_W])
        assert _asked(worker), "it has not said so"


def _asked(worker: Scripted) -> bool:
    return any("/history/" in request or request in ("GET /queue", "GET /prompt") for request in worker.requests)


async def _up(core: Replica) -> None:
    """One worker that takes prompts, as far as this replica knows."""
    catalogue = await core.catalogues.save(json.dumps({**BASE, "Load": info({"model": [["a.pt"], {}]})}).encode())
    await core.store.farm.put(WorkerEntry(_W, "http://w0"))
    await core.mirror.fresh()
    worker = replace(core.mirror.workers[_W], liveness=Up(), catalogue=catalogue, catalogue_digest=catalogue.digest)
    await core.store.farm.publish(worker)
    await core.mirror.fresh()


async def _fill(store: Store, start: int, count: int) -> None:
    prompts = [new(f"p{number:06}", client=f"c{number % 20}") for number in range(start, start + count)]
    for at in range(0, count, 50):
        await asyncio.gather(*(store.jobs.accept(prompt, _ROOM) for prompt in prompts[at : at + 50]))


async def _cost(core: Replica) -> float:
    """Seconds of this process for a prompt that is placed, runs and ends, each change taken in."""
    await core.mirror.fresh()
    began = time.process_time()
    for _ in range(_RUN):
        chosen = core.placement.decide(time.time())
        assert chosen is not None
        tried = attempt(chosen.id, chosen.worker)
        assert isinstance(await core.store.jobs.claim(tried, "{}"), Won)
        for step in (
            core.store.jobs.posted(tried, tried.id, {}),
            core.store.jobs.started(tried),
            core.store.jobs.over(tried),
            core.store.jobs.finish(tried.prompt, tried, DONE),
        ):
            assert await step
            await core.mirror.fresh()
    return (time.process_time() - began) / _RUN


async def _reads(core: Replica) -> int:
    """How often the state's server has read from a connection."""
    return int((await core.store.redis.info("stats"))["total_reads_processed"])
