"""Prompts that a node puts on its own worker: they belong to the client whose prompt ran there."""

from __future__ import annotations

import copy
import uuid
from typing import Any

import pytest

from gateway.emulator.settings import EmulatorSettings
from tests.farm import emulated, farm, picture, sleeping
from tests.scripted import Scripted
from tests.servers import until

pytestmark = pytest.mark.anyio


def born(worker: Scripted, **extra: Any) -> str:
    """What a node of the prompt that runs there puts in the queue: with a copy of its extra_data."""
    (running,) = worker.running.values()
    return worker.take({"prompt": picture(), "extra_data": {**copy.deepcopy(running[3]), **extra}})


async def test_children_are_shown_as_their_clients_own(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        parent = await client.submit(sleeping(), extra_data={"mine": 1})
        await client.runs(parent)
        child = born(scripted_worker)
        scripted_worker.finish()
        await client.ended(parent)
        (item,) = (await client.get("/queue"))["queue_running"]
        assert item[1] == child
        assert item[3] == {"mine": 1, "client_id": client.client_id}
        assert (await client.job(child))["caller"] == client.client_id
        grandchild = born(scripted_worker)
        for id in (child, grandchild):
            await client.runs(id)
            assert scripted_worker.finish() == id
            record = await client.ended(id)
            assert record["prompt"][1] == id
            assert record["prompt"][3] == {"mine": 1, "client_id": client.client_id}
        assert list(await client.get("/history")) == [parent, child, grandchild]
        assert await client.queue() == ([], [])


async def test_while_children_last_nothing_else_goes_to_their_worker(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker) as gateway:
        client, other = gateway.client(), gateway.client()
        parent = await client.submit(sleeping())
        await client.runs(parent)
        waits = await other.submit(picture())
        child = born(scripted_worker)
        scripted_worker.finish()
        await client.ended(parent)
        await client.runs(child)
        assert len(scripted_worker.received) == 2
        assert (await other.queue())[1] == [waits]
        scripted_worker.finish()
        await scripted_worker.runs(3)
        assert scripted_worker.prompts()[-1] == waits


async def test_a_child_can_be_interrupted_by_its_client(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        await client.runs(await client.submit(sleeping()))
        child = born(scripted_worker)
        scripted_worker.finish()
        await client.runs(child)
        await client.ask("POST", f"/interrupt?client_id={client.client_id}")
        record = await client.ended(child)
        assert record["status"]["messages"][-1][0] == "execution_interrupted"
        assert scripted_worker.interrupted == [child]


async def test_the_keys_of_the_parent_are_not_shown_with_the_child(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        await client.runs(await client.submit(sleeping(), extra_data={"api_key_comfy_org": "hush"}))
        child = born(scripted_worker)
        scripted_worker.finish()
        await client.runs(child)
        assert b"hush" not in (await client.ask("GET", "/queue")).body
        scripted_worker.finish()
        await client.ended(child)
        assert b"hush" not in (await client.ask("GET", "/history")).body


async def test_what_names_a_parent_that_nobody_knows_is_somebody_elses(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        id = await client.submit(sleeping())
        await client.runs(id)
        stranger = born(scripted_worker, comfy_gateway={"prompt_id": str(uuid.uuid4())})
        scripted_worker.finish()
        await client.ended(id)
        await until(lambda: stranger in scripted_worker.running, "it runs")
        assert (await client.ask("GET", f"/gateway/jobs/{stranger}")).status == 404
        assert await client.queue() == ([], [])


async def test_a_real_chain_is_followed_to_its_end(state: str) -> None:
    """Each prompt of the chain first enqueues the next, then takes its time."""
    graph = sleeping(0.4)
    uncached = {"image": ["1", 0], "model": "a.safetensors", "load_seconds": 0.0}
    graph["0"] = {"class_type": "ProbeModel", "inputs": uncached}
    graph["2"]["inputs"]["image"] = ["0", 0]
    graph["4"] = {"class_type": "ProbeRequeue", "inputs": {"times": 2}}
    async with emulated(EmulatorSettings()) as workers, farm(state, *workers) as gateway:
        client = gateway.client()
        first = await client.submit(graph)

        async def all_there() -> list[str]:
            found = list(await client.get("/history"))
            return found if len(found) == 3 else []

        ids = await until(all_there, "all three have ended")
        assert ids[0] == first
        for id in ids:
            record = await client.record(id)
            assert record is not None
            assert record["prompt"][3] == {"client_id": client.client_id}


async def test_children_that_end_before_anybody_looks_are_followed_too(state: str) -> None:
    """What they do is cached, so that each takes a millisecond."""
    graph = sleeping(0.3)
    graph["4"] = {"class_type": "ProbeRequeue", "inputs": {"times": 2}}
    async with emulated(EmulatorSettings()) as workers, farm(state, *workers) as gateway:
        client = gateway.client()
        await client.submit(graph)

        async def all_there() -> bool:
            return len(await client.get("/history")) == 3

        await until(all_there, "all three have ended")


async def test_children_that_ended_while_nothing_was_heard_are_found_in_the_history(
    state: str, scripted_worker: Scripted
) -> None:
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        parent = await client.submit(sleeping())
        await client.runs(parent)
        scripted_worker.deaf = True
        child = born(scripted_worker)
        scripted_worker.finish()
        grandchild = born(scripted_worker)
        scripted_worker.finish()
        scripted_worker.finish()
        stranger = scripted_worker.take({"prompt": picture(), "extra_data": {}})
        scripted_worker.finish()
        scripted_worker.cut()
        for id in (parent, child, grandchild):
            await client.ended(id)
        assert list(await client.get("/history")) == [parent, child, grandchild]
        assert (await client.ask("GET", f"/gateway/jobs/{stranger}")).status == 404


async def test_an_empty_id_owns_nothing_that_is_not_its_own(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        await client.submit(picture(), prompt_id="")
        await scripted_worker.runs()
        foreign = scripted_worker.take({"prompt": picture(), "extra_data": {}})
        scripted_worker.finish()
        await until(lambda: client.queue_is_empty(), "it has ended")
        assert foreign in scripted_worker.running
        assert (await client.ask("GET", f"/gateway/jobs/{foreign}")).status == 404
