"""Who looks after which worker, and who takes over."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar, cast

import pytest
import redis
from redis.asyncio import Redis

from gateway.flows.sharing import Tasks
from gateway.flows.tend import Tending
from tests.conformance.transcripts import listening
from tests.farm import Farm, farm, picture, sleeping
from tests.flows import saying
from tests.scripted import Scripted, late
from tests.servers import until

pytestmark = pytest.mark.anyio


async def holders(state: str) -> dict[str, str]:
    """Which replica holds which lease."""
    found: dict[str, str] = {}
    async with Redis.from_url(state, decode_responses=True) as store:
        async for key in store.scan_iter("*:lease:*"):
            if holder := await store.get(key):
                found[str(key).partition(":lease:")[2]] = str(holder)
    return found


@asynccontextmanager
async def process(state: str, *workers: Scripted) -> AsyncIterator[asyncio.subprocess.Process]:
    """A gateway of its own, which a test may kill."""
    named = [flag for n, worker in enumerate(workers) for flag in ("--worker", f"w{n}={worker.url}")]
    flags = ["--port", "0", "--state", state, "--lease-ttl", "1", "--poll-every", "0.2"]
    command = [sys.executable, "-m", "gateway", "serve", *flags, *named]
    running = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


async def test_every_worker_and_the_queue_belong_to_one_replica(
    state: str, scripted_worker: Scripted, second_worker: Scripted
) -> None:
    async with farm(state, scripted_worker, second_worker, replicas=2):
        held = await holders(state)
        assert set(held) == {"leader", "worker:w0", "worker:w1"}


async def test_a_replica_that_leaves_gives_all_back_at_once(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker, lease_ttl=60):
        assert await holders(state)
    assert await holders(state) == {}
    with redis.Redis.from_url(state) as store:
        assert list(store.scan_iter("*:replica:*")) == []


async def test_when_a_replica_is_killed_another_takes_over_what_runs_and_what_waits(
    state: str, scripted_worker: Scripted
) -> None:
    async with process(state, scripted_worker) as first:
        await until(lambda: _leads(state), "the first leads", timeout=20)
        (before,) = set((await holders(state)).values())
        async with farm(state, scripted_worker, wait=False, lease_ttl=1) as gateway:
            client = gateway.client()
            await gateway.ready()
            running, waiting = [await client.submit(sleeping()) for _ in range(2)]
            assert set((await holders(state)).values()) == {before}
            first.kill()
            await first.wait()

            async def taken_over() -> bool:
                held = await holders(state)
                return set(held) == {"leader", "worker:w0"} and before not in held.values()

            await until(taken_over, "the second takes over")
            scripted_worker.finish()
            await client.ended(running)
            await scripted_worker.runs(2)
            scripted_worker.finish()
            await client.ended(waiting)
            assert scripted_worker.prompts() == [running, waiting]


async def test_who_takes_a_worker_over_hears_the_rest_of_what_was_posted_before(
    state: str, scripted_worker: Scripted
) -> None:
    """Under the name that the one before listened with; what is posted from then on has another."""
    async with process(state, scripted_worker) as first:
        await until(lambda: _leads(state), "the first leads", timeout=20)
        await until(lambda: scripted_worker.connected, "the first listens")
        async with farm(state, scripted_worker, wait=False, lease_ttl=1) as gateway:
            client = gateway.client()
            await gateway.ready()
            async with listening(gateway.http, gateway.urls[0], client.client_id) as ear:
                running, waiting = [await client.submit(sleeping()) for _ in range(2)]
                await ear.heard(lambda ear: ear.of("execution_start", prompt_id=running), "its start, from the first")
                attempt = await scripted_worker.runs()
                under = scripted_worker.running[attempt][3]["client_id"]
                first.kill()
                await first.wait()
                await until(lambda: scripted_worker.connected == 2 and under in scripted_worker._sockets, "both names")
                await scripted_worker.tell(saying.result(attempt, "after"))
                await ear.heard(lambda ear: ear.of("executed", prompt_id=running), "what comes after")
                scripted_worker.finish()
                await ear.ended(running)
                later = await scripted_worker.runs(2)
                assert scripted_worker.running[later][3]["client_id"] not in (under, later)
                await ear.heard(lambda ear: ear.of("execution_start", prompt_id=waiting), "the next one's start")
                scripted_worker.finish()
                await ear.ended(waiting)
                for id in (running, waiting):
                    assert len(ear.of("execution_start", prompt_id=id)) == 1
                    assert len(ear.of("execution_success", prompt_id=id)) == 1


async def test_a_prompt_whose_gateway_died_while_posting_it_runs_once(state: str, scripted_worker: Scripted) -> None:
    """Nobody heard the answer; whether the worker has the prompt is found out by asking it."""
    go_on = asyncio.Event()
    async with process(state, scripted_worker) as first:
        await until(lambda: _leads(state), "the first leads", timeout=20)
        async with farm(state, scripted_worker, wait=False, lease_ttl=1) as gateway:
            client = gateway.client()
            await gateway.ready()
            blocker, id = [await client.submit(sleeping()) for _ in range(2)]
            scripted_worker.manners.append(late(go_on))
            scripted_worker.finish()
            await until(lambda: scripted_worker.stalled, "it is being posted")
            first.kill()
            await first.wait()
            go_on.set()
            await until(lambda: id in scripted_worker.prompts(), "it runs")
            scripted_worker.finish()
            await client.ended(id)
            assert scripted_worker.prompts() == [blocker, id]
            assert set(await client.get("/history")) == {blocker, id}


async def test_a_worker_added_is_looked_after_at_once(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, lease_ttl=3600) as gateway:
        client = gateway.client()
        await client.send("/gateway/workers", {"url": scripted_worker.url, "name": "new"})
        await gateway.sees(new="up")


async def test_a_worker_that_comes_back_is_read_anew(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker, catalogue_every=3600) as gateway:
        reads = scripted_worker.requests["GET /object_info"]
        await scripted_worker.down()
        await gateway.sees(w0="down")
        del scripted_worker.nodes["ProbeModel"]
        await scripted_worker.up()
        await until(lambda: _classes(gateway, len(scripted_worker.nodes)), "its nodes are read anew")
        assert scripted_worker.requests["GET /object_info"] == reads + 1


async def test_a_worker_removed_is_left_alone(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker, poll_every=0.05) as gateway:
        client = gateway.client()
        assert (await client.ask("DELETE", "/gateway/workers/w0")).status == 204
        await until(lambda: not scripted_worker.connected, "its socket is closed")
        before = scripted_worker.requests.copy()
        id = await client.submit(picture())
        assert await client.state(id) == "queued"
        assert scripted_worker.requests == before


async def _leads(state: str) -> bool:
    return "leader" in await holders(state)


async def _classes(gateway: Farm, count: int) -> bool:
    return bool((await gateway.workers())["w0"]["node_classes"] == count)


async def test_leases_are_renewed_though_the_news_takes_long() -> None:
    farm, mirror = Leases(), Endless()
    nobody: Any = None
    tending = Tending(cast("Any", farm), cast("Any", mirror), Tasks(), nobody, lease_ttl=2.0)
    async with asyncio.timeout(20):
        await tending.tick()
    assert farm.renewed == [["leader"]]
    assert tending.leads()


class Leases:
    """A store that gives each lease."""

    def __init__(self) -> None:
        self.renewed: list[list[str]] = []

    async def lease(self, names: list[str]) -> set[str]:
        self.renewed.append(names)
        return set(names)


class Endless:
    """A mirror that has much to take in."""

    workers: ClassVar[dict[str, Any]] = {}

    async def fresh(self) -> None:
        await asyncio.Event().wait()
