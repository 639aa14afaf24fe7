from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.emulator.settings import EmulatorSettings
from tests.conformance.transcripts import listening
from tests.farm import Client, Farm, emulated, failing, farm, picture, sleeping
from tests.flows import saying
from tests.scripted import Scripted
from tests.servers import until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


@pytest.fixture
async def whole(state: str, scripted_worker: Scripted) -> AsyncIterator[Farm]:
    async with farm(state, scripted_worker) as gateway:
        yield gateway


def follow(whole: Farm, client: Client) -> Any:
    return listening(whole.http, whole.urls[0], client.client_id)


async def test_a_deaf_socket_is_found_and_renewed_and_its_prompt_still_ends(
    whole: Farm, scripted_worker: Scripted
) -> None:
    client = whole.client()
    before = set(scripted_worker._sockets)
    async with follow(whole, client) as ear:
        began = time.monotonic()
        scripted_worker.deaf = True
        scripted_worker.instant = True
        unheard = ""
        while time.monotonic() < began + 1.0:  # a post at the moment of the last `status` may have been heard of
            unheard = await client.submit(picture())
            await ear.ended(unheard)
            assert ear.of("execution_success", prompt_id=unheard), "it was looked up"
        scripted_worker.instant = False
        waiting = await client.submit(picture())
        began = time.monotonic()
        await until(lambda: set(scripted_worker._sockets) - before, "there is another socket")
        assert time.monotonic() - began < 6.0
        scripted_worker.deaf = False
        scripted_worker.finish()
        await ear.ended(waiting)
        heard = await client.submit(picture())
        await ear.heard(lambda ear: ear.of("execution_start", prompt_id=heard), "the next one's start")
        scripted_worker.finish()
        await ear.ended(heard)
        for id in (unheard, waiting, heard):
            assert len(ear.of("execution_success", prompt_id=id)) == 1
            assert len(ear.of("executing", node=None, prompt_id=id)) == 1


async def test_the_first_prompt_is_heard_though_the_socket_takes_time(state: str, scripted_worker: Scripted) -> None:
    scripted_worker.handshake = 0.5
    async with farm(state, scripted_worker) as whole:
        await whole.client().submit(picture())
        assert scripted_worker.is_heard(await scripted_worker.runs())


async def test_the_first_prompt_after_a_worker_came_back_is_heard(whole: Farm, scripted_worker: Scripted) -> None:
    scripted_worker.instant = True
    for number in range(1, 5):  # it may have been just about to connect
        await scripted_worker.down()
        await whole.sees(w0="down")
        await whole.client().submit(picture())
        await scripted_worker.up()
        assert scripted_worker.is_heard(await scripted_worker.runs(number))


async def test_one_whose_socket_never_comes_takes_prompts_all_the_same(state: str, scripted_worker: Scripted) -> None:
    scripted_worker.handshake = 60.0
    scripted_worker.instant = True
    async with farm(state, scripted_worker) as whole:
        client = whole.client()
        await client.ended(await client.submit(picture()))


async def test_one_that_hears_is_not_renewed(whole: Farm, scripted_worker: Scripted) -> None:
    client = whole.client()
    before = set(scripted_worker._sockets)
    async with follow(whole, client) as ear:
        first = await client.submit(picture())
        worker = scripted_worker.requests["GET /prompt"]
        await until(lambda: scripted_worker.requests["GET /prompt"] > worker + 12, "some seconds pass", timeout=20)
        scripted_worker.finish()
        await ear.ended(first)
    assert set(scripted_worker._sockets) == before


async def test_a_socket_that_is_cut_in_the_middle_costs_no_end_and_doubles_none(
    whole: Farm, scripted_worker: Scripted
) -> None:
    client = whole.client()
    async with follow(whole, client) as ear:
        id = await client.submit(picture())
        attempt = await scripted_worker.runs()
        await scripted_worker.tell(saying.executing(attempt))
        await ear.heard(lambda ear: ear.of("executing"), "it runs")
        owner = scripted_worker.running[attempt][3]["client_id"]
        scripted_worker.cut()
        await until(lambda: owner in scripted_worker._sockets and scripted_worker.connected == 2, "both names listen")
        await scripted_worker.tell(saying.result(attempt, "after"), saying.event("custom", n=1))
        await ear.heard(lambda ear: ear.of("executed") and ear.of("custom"), "what comes under the old name")
        scripted_worker.finish()
        await ear.ended(id)
        next_one = await client.submit(picture())
        await ear.heard(lambda ear: ear.of("execution_start", prompt_id=next_one), "the next one's start")
        scripted_worker.finish()
        await ear.ended(next_one)
        assert len(ear.of("execution_success", prompt_id=id)) == 1
        assert len(ear.of("executing", node=None)) == 2
        assert len(ear.of("custom")) == 1


async def test_a_node_that_is_blocked_is_told_and_ends_nothing(whole: Farm, scripted_worker: Scripted) -> None:
    client = whole.client()
    async with follow(whole, client) as ear:
        id = await client.submit(picture())
        attempt = await scripted_worker.runs()
        blocked = {"node_id": "3", "exception_message": "no", "exception_type": "ExecutionBlocked", "traceback": []}
        await scripted_worker.tell(
            saying.event("execution_error", prompt_id=attempt, **blocked), saying.result(attempt, "and on it goes")
        )
        await ear.heard(lambda ear: ear.of("executed"), "what comes after it")
        assert ear.of("execution_error") == [{"prompt_id": id, **blocked}]
        assert await client.record(id) is None
        scripted_worker.finish()
        await ear.ended(id)
        assert len(ear.of("execution_success")) == 1


async def test_an_end_that_nobody_said_is_found(whole: Farm, scripted_worker: Scripted) -> None:
    client = whole.client()
    async with follow(whole, client) as ear:
        id = await client.submit(picture())
        await ear.heard(lambda ear: ear.of("execution_start", prompt_id=id), "its start")
        scripted_worker.deaf = True
        scripted_worker.finish()
        await ear.ended(id)
        assert [kind for kind in ear.types if kind != "status"] == ["execution_start", "execution_success", "executing"]


async def test_when_workers_die_of_a_prompt_the_gateway_says_so(state: str, tmp_path: Path) -> None:
    settings = [EmulatorSettings(directory=tmp_path / name) for name in ("a", "b")]
    async with emulated(*settings) as workers, farm(state, *workers, max_attempts=2) as whole:
        client = whole.client()
        async with follow(whole, client) as ear:
            id = await client.submit(failing("exit"))
            await ear.ended(id)
            (told,) = ear.of("execution_error")
            assert (told["prompt_id"], told["node_id"]) == (id, "")
            assert "2 workers were lost with it" in told["exception_message"]
            assert ear.types[-3:] == ["execution_error", "status", "executing"]
            assert len(ear.of("executing", node=None)) == 1
            assert ear.of("status")[-1]["status"]["exec_info"]["queue_remaining"] == 0
            record = await client.record(id)
            assert record is not None
            assert record["status"]["messages"][-1] == ["execution_error", told]


async def test_a_prompt_whose_worker_dies_is_begun_again_and_ends_once(state: str, tmp_path: Path) -> None:
    settings = [EmulatorSettings(directory=tmp_path / name) for name in ("a", "b")]
    async with emulated(*settings) as workers, farm(state, *workers) as whole:
        client = whole.client()
        async with follow(whole, client) as ear:
            id = await client.submit(sleeping(1.5))
            await ear.heard(lambda ear: ear.of("progress"), "it runs")
            first = next(worker for worker in workers if worker.worker.queue.remaining())
            first.worker.die(9)
            await ear.ended(id)
            kinds = [kind for kind in ear.types if kind in ("execution_start", "execution_success", "execution_error")]
            assert kinds == ["execution_start", "execution_start", "execution_success"]
            assert len(ear.of("executing", node=None)) == 1
            counted = [told["status"]["exec_info"]["queue_remaining"] for told in ear.of("status")]
            assert counted[-1] == 0
            assert 0 not in counted[1:-1]
