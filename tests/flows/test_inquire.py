"""Asking workers what only they can say, and leaving no trace there."""

from __future__ import annotations

import asyncio
import json

import pytest

from gateway.emulator.settings import EmulatorSettings
from tests.farm import emulated, farm, picture, sleeping, with_model
from tests.scripted import NO, Scripted, fails_after, late, refuses, resets_after
from tests.servers import until

pytestmark = pytest.mark.anyio

DOUBTFUL = "nowhere.safetensors"


async def test_a_question_to_idle_workers_runs_nowhere_and_the_prompt_once(
    state: str, scripted_worker: Scripted
) -> None:
    """No list has its model and yet the worker takes it: what it was asked with is withdrawn, then it runs in line."""
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        id = await client.submit(with_model(DOUBTFUL))
        asked = scripted_worker.started[0]
        assert asked in scripted_worker.deleted or asked in scripted_worker.interrupted
        assert asked not in scripted_worker.running
        assert await client.state(id) in ("queued", "assigned", "running")
        assert await client.get("/history") == {}


async def test_the_first_yes_counts_else_the_first_no(
    state: str, scripted_worker: Scripted, second_worker: Scripted
) -> None:
    async with farm(state, scripted_worker, second_worker) as gateway:
        client = gateway.client()
        blockers = [await client.submit(sleeping()) for _ in range(2)]
        scripted_worker.manners, second_worker.manners = [refuses()], []
        id = await client.submit(with_model(DOUBTFUL))
        assert (await client.queue())[1] == [id]
        scripted_worker.manners, second_worker.manners = [refuses()], [refuses()]
        answer = await client.post(with_model(DOUBTFUL))
        assert (answer.status, answer.body) == (400, NO)
        assert set((await client.queue())[0]) == set(blockers)


@pytest.mark.parametrize("manner", [resets_after, fails_after])
async def test_a_question_whose_answer_is_lost_does_not_stay_there(
    state: str, scripted_worker: Scripted, manner: object
) -> None:
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        await client.submit(sleeping())
        scripted_worker.manners = [manner]  # type: ignore[list-item]
        await client.submit(with_model(DOUBTFUL))
        asked = scripted_worker.received[-1]["prompt_id"]
        await until(lambda: asked in scripted_worker.deleted, "it is withdrawn")
        assert asked not in scripted_worker.pending


async def test_a_question_that_arrives_late_does_not_run(state: str, scripted_worker: Scripted) -> None:
    go_on = asyncio.Event()
    async with farm(state, scripted_worker, post_timeout=0.3) as gateway:
        client = gateway.client()
        await client.submit(sleeping())
        scripted_worker.manners = [late(go_on)]
        id = await client.submit(with_model(DOUBTFUL))
        assert (await client.queue())[1] == [id]  # nobody could say: it is held
        go_on.set()
        await until(lambda: len(scripted_worker.received) == 2, "the question is there")
        asked = scripted_worker.received[1]["prompt_id"]
        await until(lambda: asked in scripted_worker.deleted, "it is withdrawn")
        assert asked not in scripted_worker.pending


async def test_an_emulated_worker_is_asked_without_running_anything(state: str) -> None:
    async with emulated(EmulatorSettings()) as workers, farm(state, *workers) as gateway:
        client = gateway.client()
        blocker = await client.submit(sleeping())
        await client.runs(blocker)
        answer = await client.post(with_model(DOUBTFUL))
        assert answer.status == 400
        assert answer.json["node_errors"]["2"]["errors"][0]["type"] == "value_not_in_list"
        assert workers[0].worker.queue.remaining() == 1


async def test_a_question_carries_no_keys(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        await client.submit(sleeping())
        await client.submit(with_model(DOUBTFUL), extra_data={"api_key_comfy_org": "hush"})
        assert "hush" not in json.dumps(scripted_worker.received)


async def test_nodes_are_read_afresh_once_for_many_prompts_of_a_moment(state: str, scripted_worker: Scripted) -> None:
    scripted_worker.manners = [refuses()] * 5
    async with farm(state, scripted_worker, catalogue_every=3600) as gateway:
        client = gateway.client()
        before = scripted_worker.requests["GET /object_info"]
        answers = await asyncio.gather(*(client.post(with_model(DOUBTFUL)) for _ in range(5)))
        assert {answer.status for answer in answers} == {400}
        assert scripted_worker.requests["GET /object_info"] == before + 1


async def test_a_worker_whose_nodes_are_not_known_yet_is_waited_for(state: str) -> None:
    async with farm(state, "http://127.0.0.1:9", wait=False) as gateway:
        client = gateway.client()
        id = await client.submit(picture())
        assert await client.queue() == ([], [id])
