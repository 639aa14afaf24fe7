"""Workers that die, stand still, or come back with an empty memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aiohttp
import pytest

from tests.servers import until
from tests.system.history import OURS, History, executions
from tests.system.processes import SLOW, Farm, Process, all_up
from tests.system.prompts import Prompt, many, models

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(SLOW)]

ALERT = ("--poll-every", "500ms", "--poll-timeout", "500ms")
MAX_ATTEMPTS = 3


async def get(http: aiohttp.ClientSession, url: str) -> Any:
    async with http.get(url) as reply:
        assert reply.status == 200, f"GET {url}: {reply.status}"
        return await reply.json()


async def runs(http: aiohttp.ClientSession, worker: Process) -> set[str]:
    """The prompts that run there at the moment, as the worker itself says."""
    return {item[3][OURS]["prompt_id"] for item in (await get(http, f"{worker.url}/queue"))["queue_running"]}


async def ran_on(http: aiohttp.ClientSession, gateway: Process, prompt: Prompt) -> str:
    return str((await get(http, f"{gateway.url}/gateway/jobs/{prompt.id}"))["worker"])


async def test_a_worker_killed_in_its_run_and_started_again_costs_no_prompt(
    farm: Farm, http: aiohttp.ClientSession
) -> None:
    workers = await farm.workers(w0=models("abcde"), w1=models("abcde"))
    gateway = farm.gateway("gateway", workers)
    await gateway.start()
    history = History(http, [gateway])
    async with history.watched():
        posting = asyncio.create_task(history.post_all(many(60, 0.1), ahead=25))
        await history.ended(10)
        await until(lambda: runs(http, workers[0]), "w0 runs a prompt")
        workers[0].kill()
        await history.ended(20)
        await workers[0].start()
        await until(lambda: runs(http, workers[0]), "w0 runs a prompt again")
        workers[0].kill()
        await workers[0].start()
        await posting
        await history.settled()
    await history.in_order()
    assert max((await executions(http, workers)).values()) == 1


async def test_the_prompt_of_a_worker_that_stands_still_runs_elsewhere_and_only_that_run_counts(
    farm: Farm, http: aiohttp.ClientSession
) -> None:
    workers = await farm.workers(w0=models("a"), w1=models("a"))
    spare = farm.worker("spare", "--models", models("a"), "--speed", "10")
    await spare.start()
    gateway = farm.gateway("gateway", [*workers, spare], *ALERT)
    await gateway.start()
    history = History(http, [gateway])
    long, last_step = Prompt(0, seconds=8), Prompt(1, seconds=2, steps=1, load=0)
    async with history.watched():
        async with http.post(f"{gateway.url}/gateway/workers/spare/drain") as reply:
            assert reply.status == 200
        await history.post_all([long, last_step])
        for prompt in (long, last_step):
            await until(partial(_runs, http, gateway, prompt), "both run")
        places = {await ran_on(http, gateway, prompt): prompt for prompt in (long, last_step)}
        async with workers[0].paused(), workers[1].paused():
            async with http.post(f"{gateway.url}/gateway/workers/spare/resume") as reply:
                assert reply.status == 200
            await history.settled(8)
        assert await ran_on(http, gateway, long) == await ran_on(http, gateway, last_step) == "spare"
        for worker in workers:
            expected = "execution_success" if places[worker.name] is last_step else "execution_interrupted"
            record = await until(partial(_only_record, http, worker), f"{worker.name} ends what it ran")
            assert record["status"]["messages"][-1][0] == expected
        polls = history.polls
        await until(lambda: history.polls > polls + 5, "what was shown is compared again")
        await history.post_all([Prompt(n, seconds=0.2) for n in range(2, 12)])
        await history.settled()
    await history.in_order()
    assert await ran_on(http, gateway, long) == await ran_on(http, gateway, last_step) == "spare"


async def _runs(http: aiohttp.ClientSession, gateway: Process, prompt: Prompt) -> bool:
    """As the gateway has it, which is a moment after the worker began."""
    return bool((await get(http, f"{gateway.url}/gateway/jobs/{prompt.id}"))["state"] == "running")


async def _only_record(http: aiohttp.ClientSession, worker: Process) -> Any:
    """The record of the only prompt that it ever ran; None while that runs."""
    records = list((await get(http, f"{worker.url}/history")).values())
    assert len(records) < 2
    return records[0] if records else None


@asynccontextmanager
async def supervised(workers: list[Process]) -> AsyncIterator[list[str]]:
    """Start again whatever dies; yields the names of those that did."""
    died: list[str] = []
    stop = asyncio.Event()

    async def keep(worker: Process) -> None:
        while not stop.is_set():
            if not worker.alive:
                died.append(worker.name)
                await worker.start()
            await asyncio.sleep(0.02)

    async with asyncio.TaskGroup() as group:
        for worker in workers:
            group.create_task(keep(worker))
        try:
            yield died
        finally:
            stop.set()


async def test_a_prompt_that_kills_its_workers_is_given_up_and_all_others_succeed(
    farm: Farm, http: aiohttp.ClientSession
) -> None:
    workers = await farm.workers(w0=models("abcde"), w1=models("abcde"), w2=models("abcde"))
    gateway = farm.gateway("gateway", workers, "--max-attempts", str(MAX_ATTEMPTS))
    await gateway.start()
    history = History(http, [gateway])
    deadly = Prompt(1000, kills=True)
    async with supervised(workers) as died, history.watched():
        prompts = many(50, 0.1)
        await history.post_all([*prompts[:10], deadly, *prompts[10:]], ahead=25)
        await history.settled()
        await all_up(http, gateway)  # the last one that died may have the pictures
    record = history.results.pop(deadly.id)
    assert history.numbers.pop(deadly.id) >= 0
    assert record["status"]["status_str"] == "error"
    assert f"{MAX_ATTEMPTS} workers were lost with it" in json.dumps(record["status"])
    assert len(died) == MAX_ATTEMPTS
    await history.in_order()


async def test_a_worker_that_came_back_empty_unseen_gets_its_running_prompt_again(
    farm: Farm, http: aiohttp.ClientSession
) -> None:
    (worker,) = workers = await farm.workers(w0=models("a"))
    gateway = farm.gateway("gateway", workers)
    await gateway.start()
    history = History(http, [gateway])
    async with history.watched():
        await history.post_all([Prompt(n, seconds=1) for n in range(3)])
        await until(lambda: runs(http, worker), "it runs a prompt")
        async with gateway.paused():  # so that it never sees the port closed
            worker.kill()
            await worker.start()
        await history.settled()
    await history.in_order(workers)


async def test_a_prompt_that_waits_on_a_worker_behind_another_ones_survives_its_restart(
    farm: Farm, http: aiohttp.ClientSession
) -> None:
    (worker,) = workers = await farm.workers(w0=models("a"))
    gateway = farm.gateway("gateway", workers)
    await gateway.start()
    history = History(http, [gateway])
    foreign = {"prompt": Prompt(99, seconds=30).graph()}
    async with http.post(f"{worker.url}/prompt", json=foreign) as reply:
        assert reply.status == 200
    async with history.watched():
        await history.post_all([Prompt(n, seconds=0.1) for n in range(3)])
        await until(lambda: _waits(http, worker), "one of them waits on the worker")
        async with gateway.paused():
            worker.kill()
            await worker.start()
        await history.settled()
    await history.in_order(workers)


async def _waits(http: aiohttp.ClientSession, worker: Process) -> bool:
    return bool((await get(http, f"{worker.url}/queue"))["queue_pending"])
