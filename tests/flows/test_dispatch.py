"""What waits goes to workers in the right order, each prompt once."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway.emulator.settings import EmulatorSettings
from tests.conformance.transcripts import listening
from tests.farm import Client, emulated, farm, picture, sleeping
from tests.lossy import lossy
from tests.scripted import Scripted, scripted
from tests.servers import until

pytestmark = pytest.mark.anyio

MIXED: list[dict[str, Any]] = [
    {},
    {"front": True},
    {"number": 2.5},
    {},
    {"front": True},
    {"number": -1},
    {"number": 1e9},
    {},
    {"number": 2.5, "front": True},
]


async def test_one_client_on_one_worker_gets_comfyuis_own_order(state: str) -> None:
    """The same posts to a ComfyUI and to the gateway in front of another."""
    async with emulated(*[EmulatorSettings()] * 2) as (alone, behind), farm(state, behind) as gateway:
        client = gateway.client()
        direct = Client(gateway.http, alone.url, "me")
        orders = []
        for who in (direct, client):
            blocker = await who.submit(sleeping(), prompt_id="00000000-0000-4000-8000-000000000000")
            await until(lambda who=who, id=blocker: _runs(who, id), "the blocker runs")  # type: ignore[misc]
            for number, more in enumerate(MIXED, 1):
                await who.submit(picture(), prompt_id=f"00000000-0000-4000-8000-{number:012}", **more)
            told = await who.get("/queue")
            await who.send("/interrupt", {"prompt_id": blocker})
            await until(lambda who=who: _all_ended(who, len(MIXED) + 1), "all end")  # type: ignore[misc]
            orders.append((list(await who.get("/history")), sorted(item[0] for item in told["queue_pending"])))
        assert orders[0][0][1:] == orders[1][0][1:]
        assert orders[0] == orders[1]


async def test_the_front_of_one_client_does_not_overtake_another(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker) as gateway:
        pushy, patient = gateway.client("a"), gateway.client("b")
        await pushy.submit(sleeping())
        early = await patient.submit(picture())
        late = await pushy.submit(picture())
        front = await pushy.submit(picture(), front=True)
        low = await pushy.submit(picture(), number=-1e9)
        for count in range(2, 6):
            scripted_worker.finish()
            await scripted_worker.runs(count)
        assert scripted_worker.prompts()[1:] == [early, low, front, late]


async def test_every_worker_is_used_and_none_twice(state: str) -> None:
    async with emulated(*[EmulatorSettings()] * 3) as workers, farm(state, *workers, replicas=2) as gateway:
        clients = [gateway.client("me", at) for at in (0, 1)]
        ids = await asyncio.gather(*(clients[n % 2].submit(sleeping(0.1)) for n in range(8)))
        for id in ids:
            record = await clients[0].ended(id)
            assert record["status"]["completed"]
        jobs = [await clients[0].job(id) for id in ids]
        assert {job["worker"] for job in jobs} == {"w0", "w1", "w2"}
        assert {job["attempts"] for job in jobs} == {1}
        ran = [len(worker.worker.queue.history()) for worker in workers]
        assert sum(ran) == 8
        assert min(ran) >= 1


async def test_a_worker_holds_one_prompt_at_a_time(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        ids = [await client.submit(picture()) for _ in range(3)]
        for count, id in enumerate(ids, 1):
            await scripted_worker.runs(count)
            assert scripted_worker.pending == {}
            assert len(scripted_worker.received) == count
            scripted_worker.finish()
            await client.ended(id)


async def test_why_it_waits_is_told(state: str, scripted_worker: Scripted, second_worker: Scripted) -> None:
    del second_worker.nodes["ProbeSleep"]
    async with farm(state, scripted_worker, second_worker) as gateway:
        client = gateway.client()
        await client.submit(sleeping())
        first, second = [await client.submit(sleeping()) for _ in range(2)]
        told = await client.job(second)
        assert (told["state"], told["position"], told["caller"]) == ("queued", 1, client.client_id)
        assert told["workers"] == {"w0": "busy", "w1": "node class ProbeSleep is not installed"}
        assert "ProbeSleep" in told["needs"]["classes"]
        assert (await client.job(first))["position"] == 0


@pytest.mark.parametrize("operation", ["claim", "accept"])
async def test_a_worker_whose_claim_was_not_answered_is_not_lost(
    state: str, short_path: Path, scripted_worker: Scripted, operation: str
) -> None:
    """The state goes away for longer than a call is tried, just when it has noted the claim."""
    async with lossy(state, short_path) as way, farm(way.url, scripted_worker) as gateway:
        client = gateway.client()
        first = await client.submit(sleeping())
        if operation == "claim":
            await client.submit(picture(), prompt_id="the-next")
            way.lose(operation)
        scripted_worker.finish()
        if operation == "accept":
            await client.ended(first)
            way.lose(operation)
            assert (await client.post(picture())).status == 503
        await until(way.lost.is_set, "the answer is lost")
        await asyncio.sleep(2)  # longer than redis-py tries
        await way.back()
        if operation == "accept":
            await until(lambda: client.post(picture(), prompt_id="the-next"), "it is back")
        await until(lambda: "the-next" in scripted_worker.prompts(), "the worker has it", timeout=20)


async def _runs(client: Client, id: str) -> bool:
    return id in (await client.queue())[0]


async def _all_ended(client: Client, count: int) -> bool:
    return len(await client.get("/history")) == count


async def test_the_next_is_posted_when_the_end_is_told_though_the_record_is_still_to_come(
    state: str, scripted_worker: Scripted
) -> None:
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        async with listening(gateway.http, gateway.urls[0], client.client_id) as ear:
            first, second = await client.submit(picture()), await client.submit(picture())
            await scripted_worker.runs()
            scripted_worker.over()
            await until(lambda: len(scripted_worker.received) == 2, "the next one is there")
            assert await client.queue() == ([first, second], []), "both are on the worker, and none is lost"
            await client.send("/interrupt", {"prompt_id": first})
            assert scripted_worker.interrupted == [], "it might hit the one behind"
            scripted_worker.finish()
            await client.ended(first)
            await scripted_worker.runs(2)
            scripted_worker.finish()
            await client.ended(second)
            await ear.heard(lambda ear: ear.of("execution_success", prompt_id=second), "the last end")
        told = [(event["type"], event["data"].get("prompt_id")) for event in ear.events]
        assert told.index(("execution_success", first)) < told.index(("execution_start", second))


async def test_nothing_is_posted_behind_what_a_prompt_put_there_itself(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        first, second = await client.submit(picture()), await client.submit(picture())
        await scripted_worker.runs()
        extra_data = scripted_worker.received[0]["extra_data"]
        child = scripted_worker.take({"prompt": picture(), "extra_data": extra_data})
        scripted_worker.over()
        scripted_worker.finish()
        await client.ended(first)
        await until(lambda: child in scripted_worker.running, "the child runs")
        assert (await client.state(second)) == "queued"
        scripted_worker.finish(child)
        await until(lambda: len(scripted_worker.received) == 3, "then the next one")


async def test_a_prompt_whose_record_never_comes_waits_again(
    state: str, scripted_worker: Scripted, second_worker: Scripted
) -> None:
    """Its worker died between telling the end and putting it away: nobody was told, so it is run once more."""
    async with farm(state, scripted_worker, second_worker) as gateway:
        client = gateway.client()
        await client.send("/gateway/workers/w1/drain")
        id = await client.submit(picture())
        await scripted_worker.runs()
        scripted_worker.over()
        await client.send("/gateway/workers/w1/resume")
        await scripted_worker.down()
        await second_worker.runs()
        second_worker.finish()
        assert (await client.ended(id))["status"]["completed"]
        assert (await client.job(id))["crashes"] == 0


async def test_no_more_of_one_client_run_at_a_time_than_it_may(state: str) -> None:
    async with AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(scripted(f"w{number}")) for number in range(4)]
        gateway = await stack.enter_async_context(farm(state, *workers, replicas=2, client_parallelism=2))
        ids = await asyncio.gather(*(gateway.client("many", n % 2).submit(sleeping()) for n in range(5)))

        def running() -> int:
            return sum(len(one.running) for one in workers)

        await until(lambda: running() == 2, "as many as may")
        other = gateway.client("other", at=1)
        id = await other.submit(sleeping())
        await other.runs(id)
        assert running() == 3, "somebody else is not held up, and nobody took the free one"
        next(one for one in workers if id in one.prompts()).finish()
        await other.ended(id)
        for left in range(5, 0, -1):
            await until(lambda left=left: running() == min(left, 2), "as many as may")  # type: ignore[misc]
            next(one for one in workers if one.running).finish()
            assert running() < 2
        for id in ids:
            await gateway.client("many").ended(id)
