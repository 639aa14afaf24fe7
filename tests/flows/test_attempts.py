"""One try on one worker: what is lost, late, doubled or too big, and the one end that comes of it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from gateway.domain.errors import WorkerRefused, WorkerSilent
from gateway.domain.workers import Probe
from gateway.emulator.settings import EmulatorSettings
from gateway.flows.attempts import Unsent
from tests.farm import Client, emulated, failing, farm, picture, sleeping
from tests.scripted import Scripted, fails_after, late, loses, resets_after, resets_unread
from tests.servers import until

pytestmark = pytest.mark.anyio

OUT_OF_MEMORY: dict[str, Any] = {
    "node_id": "2",
    "node_type": "KSampler",
    "executed": ["1"],
    "exception_message": "Allocation on device 0 would exceed allowed memory.",
    "exception_type": "torch.OutOfMemoryError",
    "traceback": [],
    "current_inputs": {},
    "current_outputs": [],
}


@pytest.mark.parametrize("manner", [resets_unread, loses, resets_after, fails_after])
@pytest.mark.parametrize("waited", [False, True])
async def test_whatever_is_lost_of_the_answer_there_is_one_run_and_one_record(
    state: str, scripted_worker: Scripted, manner: Any, waited: bool
) -> None:
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        if waited:
            await client.submit(sleeping())
        scripted_worker.manners.append(manner)
        id = await client.submit(picture())
        if waited:
            scripted_worker.finish()
        await until(lambda: id in scripted_worker.prompts(), "it runs")
        scripted_worker.finish()
        record = await client.ended(id)
        assert record["status"]["completed"]
        assert scripted_worker.prompts().count(id) == 1
        assert list(await client.get("/history")).count(id) == 1
        assert await client.queue() == ([], [])


@pytest.mark.parametrize("idle", [False, True])
async def test_a_post_that_arrives_after_it_was_given_up_does_not_run(
    state: str, scripted_worker: Scripted, idle: bool
) -> None:
    go_on = asyncio.Event()
    scripted_worker.manners.append(late(go_on))
    async with farm(state, scripted_worker, post_timeout=0.3) as gateway:
        client = gateway.client()
        id = await client.submit(picture())
        current = await scripted_worker.runs()
        if idle:
            scripted_worker.finish()
            await client.ended(id)
        go_on.set()
        await until(lambda: len(scripted_worker.received) == 2, "the late one is there")
        ghost = scripted_worker.received[1]["prompt_id"]
        assert scripted_worker.received[0]["prompt_id"] == current
        if idle:
            await until(lambda: ghost in scripted_worker.interrupted, "the late one is interrupted")
        else:
            await until(lambda: ghost in scripted_worker.deleted, "the late one is taken out")
            assert list(scripted_worker.running) == [current]
            scripted_worker.finish()
        record = await client.ended(id)
        assert record["status"]["completed"]
        assert list(await client.get("/history")) == [id]
        assert current not in scripted_worker.interrupted


async def test_a_record_of_an_attempt_that_was_given_up_changes_nothing(
    state: str, scripted_worker: Scripted, second_worker: Scripted
) -> None:
    second_worker.more = {"outputs": {"3": {"images": []}}}
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        id = await client.submit(sleeping())
        await client.runs(id)
        await scripted_worker.down()
        await client.send("/gateway/workers", {"url": second_worker.url, "name": "spare"})
        await second_worker.runs()
        second_worker.finish()
        shown = await client.ended(id)
        scripted_worker.finish()
        await scripted_worker.up()
        await gateway.ready()
        again = await client.submit(sleeping())  # whatever the worker says is read by now
        await until(lambda: again in scripted_worker.prompts() + second_worker.prompts(), "another runs")
        assert await client.record(id) == shown
        assert shown["outputs"] == {"3": {"images": []}}
        assert list(await client.get("/history")) == [id]


async def test_a_worker_that_dies_in_the_middle_costs_one_attempt(
    state: str, scripted_worker: Scripted, second_worker: Scripted
) -> None:
    async with farm(state, scripted_worker, second_worker) as gateway:
        client = gateway.client()
        id = await client.submit(sleeping())
        await client.runs(id)
        first, other = in_order(scripted_worker, second_worker)
        await first.down()
        await other.runs()
        assert other.prompts() == [id]
        other.finish()
        assert (await client.ended(id))["status"]["completed"]
        job = await client.job(id)
        assert (job["attempts"], job["crashes"]) == (2, 1)


async def test_a_prompt_that_kills_its_workers_stops(state: str) -> None:
    async with emulated(*[EmulatorSettings()] * 3) as workers, farm(state, *workers, max_attempts=2) as gateway:
        client = gateway.client()
        id = await client.submit(failing("exit"))
        record = await client.ended(id)
        assert record["status"]["status_str"] == "error"
        ((event, told),) = record["status"]["messages"]
        assert (event, told["node_id"], told["prompt_id"]) == ("execution_error", "", id)
        assert "2 workers" in told["exception_message"]
        assert sum(worker.dead.done() for worker in workers) == 2
        job = await client.job(id)
        assert (job["state"], job["attempts"]) == ("failed", 2)
        assert (await client.ended(await client.submit(picture())))["status"]["completed"]
        (listed,) = [job for job in (await client.get("/api/jobs"))["jobs"] if job["id"] == id]
        assert listed["status"] == "failed"


async def test_what_only_waited_on_a_worker_that_died_is_not_charged(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        scripted_worker.take({"prompt": picture()})

        async def seen() -> bool:
            return bool((await gateway.workers())["w0"]["foreign"])

        await until(seen, "the prompt of somebody else is seen")
        id = await client.submit(picture())
        await until(lambda: scripted_worker.pending, "it is there")
        await scripted_worker.down()

        async def waits() -> bool:
            return await client.state(id) == "queued"

        await until(waits, "it waits again")
        assert (await client.job(id))["crashes"] == 0


async def test_running_out_of_memory_is_tried_once_more_on_a_bigger_worker(
    state: str, scripted_worker: Scripted, second_worker: Scripted
) -> None:
    second_worker.vram *= 2
    async with farm(state, scripted_worker, second_worker) as gateway:
        client = gateway.client()
        blocker = await client.submit(sleeping())  # takes the bigger one
        id = await client.submit(sleeping())
        await scripted_worker.runs()
        scripted_worker.finish(event="execution_error", **OUT_OF_MEMORY)
        assert second_worker.prompts() == [blocker]
        await until(lambda: told(client, id, "queued"), "it waits for the bigger one")
        assert "VRAM" in (await client.job(id))["workers"]["w0"]
        second_worker.finish()
        await second_worker.runs(2)
        second_worker.finish(event="execution_error", **OUT_OF_MEMORY)
        record = await client.ended(id)
        assert record["status"]["messages"][-1][1]["exception_type"] == "torch.OutOfMemoryError"
        assert (await client.job(id))["attempts"] == 2
        assert len(scripted_worker.started) == 1
        await client.submit(sleeping())
        await second_worker.runs(3)
        like_it, another = await client.submit(sleeping()), await client.submit(picture())
        await scripted_worker.runs(2)
        assert scripted_worker.prompts()[1:] == [another], "no more of that shape, of others as before"
        assert await client.state(like_it) == "queued"


async def test_running_out_of_memory_on_the_biggest_is_the_end_in_the_workers_words(
    state: str, scripted_worker: Scripted
) -> None:
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        id = await client.submit(sleeping())
        scripted_worker.finish(event="execution_error", **OUT_OF_MEMORY)
        record = await client.ended(id)
        assert record["status"]["messages"] == [["execution_error", {"prompt_id": id, "timestamp": 1, **OUT_OF_MEMORY}]]
        assert len(scripted_worker.started) == 1


async def test_an_ordinary_error_is_never_tried_again(state: str) -> None:
    async with emulated(*[EmulatorSettings()] * 2) as workers, farm(state, *workers) as gateway:
        client = gateway.client()
        id = await client.submit(failing())
        record = await client.ended(id)
        assert record["status"]["messages"][-1][1]["exception_message"].strip() == "probe failure"
        assert (await client.job(id))["attempts"] == 1


async def test_what_is_no_json_number_passes(state: str, scripted_worker: Scripted) -> None:
    """Python's encoder writes NaN, and ComfyUI's clients read it."""
    scripted_worker.more = {"outputs": {"3": {"value": [float("nan"), 2**70, "ü"]}}}
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        id = await client.submit(picture())
        scripted_worker.finish()
        await client.ended(id)
        raw = (await client.ask("GET", f"/history/{id}")).body
        assert b'"value": [NaN, 1180591620717411303424, "\\u00fc"]' in raw
        assert (await client.ask("GET", f"/api/jobs/{id}")).status == 200


async def test_what_the_client_sent_besides_comes_back_as_it_was(state: str, scripted_worker: Scripted) -> None:
    extra = {"extra_pnginfo": {"workflow": {"id": "w"}}, "n": [1.0, 1e400, None], "client_id": "inside"}
    graph = picture()
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client(None)
        id = await client.submit(graph, extra_data=extra, number=7)
        item = (await client.get("/queue"))["queue_running"][0]
        assert item[:4] == [7, id, graph, extra]
        scripted_worker.finish()
        prompt = (await client.ended(id))["prompt"]
        assert json.dumps(prompt) == json.dumps([7.0, id, graph, extra, ["3"]])


def told(client: Client, id: str, state: str) -> Any:
    async def asked() -> bool:
        return await client.state(id) == state

    return asked()


def in_order(*workers: Scripted) -> tuple[Scripted, Scripted]:
    """The one that runs something, and the other."""
    first, second = sorted(workers, key=lambda worker: not worker.running)
    return first, second


def test_what_an_unsent_post_says_of_its_worker() -> None:
    assert Unsent(WorkerRefused("no")).probe is Probe.REFUSED
    assert Unsent(WorkerSilent("its files could not be brought")).probe is Probe.MISSED
