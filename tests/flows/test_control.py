"""Interrupt, delete, clear, cancel and free: each hits what is meant, and nothing else."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from tests.farm import Client, farm, picture, sleeping
from tests.scripted import Scripted, late
from tests.servers import until

pytestmark = pytest.mark.anyio


# delete


@pytest.mark.parametrize("one", [False, True])
async def test_a_deleted_prompt_leaves_no_history_and_is_told_as_cancelled(
    state: str, scripted_worker: Scripted, one: bool
) -> None:
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        running = await client.submit(sleeping())
        gone, stays = [await client.submit(picture()) for _ in range(2)]
        answer = await client.send("/queue", {"delete": gone if one else [gone, "nobody"]})
        assert (answer.status, answer.body) == (200, b"")
        assert await client.queue() == ([running], [stays])
        assert await client.record(gone) is None
        assert (await client.ask("GET", f"/api/jobs/{gone}")).status == 404
        assert await client.state(gone) == "cancelled"
        told = await client.get("/gateway/jobs")
        assert {job["id"]: job["state"] for job in told["jobs"]}[gone] == "cancelled"
        scripted_worker.finish()
        await scripted_worker.runs(2)
        assert scripted_worker.prompts() == [running, stays]


async def test_anybody_may_delete_by_id_as_in_one_comfyui(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        await client.submit(sleeping())
        id = await client.submit(picture())
        await gateway.client().send("/queue", {"delete": [id]})
        assert (await client.queue())[1] == []


async def test_a_deleted_id_may_be_used_again(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker) as gateway:
        client, id = gateway.client(), str(uuid.uuid4())
        running = await client.submit(sleeping())
        await client.submit(picture(), prompt_id=id)
        await client.send("/queue", {"delete": [id]})
        await client.submit(picture(), prompt_id=id)
        assert await client.queue() == ([running], [id])
        assert await client.state(id) == "queued"


async def test_what_runs_is_not_deleted(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        id = await client.submit(picture())
        await client.runs(id)
        await client.send("/queue", {"delete": [id]})
        assert await client.queue() == ([id], [])
        scripted_worker.finish()
        assert (await client.ended(id))["status"]["completed"]


async def test_what_waits_behind_prompts_of_others_on_its_worker_is_deleted_there(
    state: str, scripted_worker: Scripted
) -> None:
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        foreign = scripted_worker.take({"prompt": picture()})
        await until_foreign(gateway, 1)
        id = await client.submit(picture())
        (there,) = scripted_worker.pending
        await until_pending(client, id)
        await client.send("/queue", {"delete": [id]})
        assert await client.queue() == ([], [])
        assert there in scripted_worker.deleted
        assert (list(scripted_worker.running), list(scripted_worker.pending)) == ([foreign], [])
        assert await client.state(id) == "cancelled"


# clear


async def test_clear_takes_the_callers_own_only(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker) as gateway:
        mine, other, nameless = gateway.client(), gateway.client(), gateway.client(None)
        running = await mine.submit(sleeping())
        await mine.submit(picture())
        others = await other.submit(picture())
        nobodys = await nameless.submit(picture())
        await mine.ask("POST", f"/queue?client_id={mine.client_id}", json={"clear": True})
        assert await mine.queue() == ([running], [others, nobodys])
        await mine.ask("POST", "/queue", json={"clear": True}, headers={"X-Client-Id": str(other.client_id)})
        assert await mine.queue() == ([running], [nobodys])


async def test_a_caller_without_an_id_clears_all_from_its_address(state: str, scripted_worker: Scripted) -> None:
    """The browser's button sends none; a ComfyUI of one's own clears all."""
    async with farm(state, scripted_worker, trusted_proxies="127.0.0.1") as gateway:
        client = gateway.client()
        elsewhere = {"X-Forwarded-For": "10.1.2.3"}
        running = await client.submit(sleeping())
        await client.submit(picture())
        answer = await client.ask("POST", "/prompt", json={"prompt": picture()}, headers=elsewhere)
        far = answer.json["prompt_id"]
        await client.send("/queue", {"clear": True})
        assert await client.queue() == ([running], [far])
        await client.ask("POST", "/queue", json={"clear": True}, headers=elsewhere)
        assert await client.queue() == ([running], [])


async def test_the_history_is_cleared_and_deleted_likewise(state: str, scripted_worker: Scripted) -> None:
    scripted_worker.instant = True
    async with farm(state, scripted_worker) as gateway:
        mine, other = gateway.client(), gateway.client()
        ids = [await client.submit(picture()) for client in (mine, mine, other, other)]
        for id in ids:
            await mine.ended(id)
        await mine.send("/history", {"delete": [ids[0], "nobody"]})
        assert set(await mine.get("/history")) == set(ids[1:])
        await mine.send("/history", {"clear": True, "client_id": mine.client_id})
        assert set(await mine.get("/history")) == set(ids[2:])
        await mine.send("/history", {"clear": True})
        assert await mine.get("/history") == {}
        assert (await mine.get("/api/jobs"))["jobs"] == []


# interrupt


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_an_interrupt_by_id_hits_that_one_only(
    state: str, scripted_worker: Scripted, second_worker: Scripted, method: str
) -> None:
    async with farm(state, scripted_worker, second_worker) as gateway:
        client = gateway.client()
        ids = [await client.submit(sleeping()) for _ in range(2)]
        waits = await client.submit(picture())
        for id in ("nobody", waits):
            await interrupt(client, method, id)
        await interrupt(client, method, ids[0])
        record = await client.ended(ids[0])
        assert [event for event, _ in record["status"]["messages"]] == ["execution_interrupted"]
        await until(lambda: len(scripted_worker.started) + len(second_worker.started) == 3, "the next runs")
        assert set((await client.queue())[0]) == {ids[1], waits}
        assert len(scripted_worker.interrupted) + len(second_worker.interrupted) == 1


async def test_a_bare_interrupt_hits_the_callers_own_and_leaves_what_waits(
    state: str, scripted_worker: Scripted, second_worker: Scripted
) -> None:
    async with farm(state, scripted_worker, second_worker) as gateway:
        mine, other = gateway.client(), gateway.client()
        running, others = await mine.submit(sleeping()), await other.submit(sleeping())
        waits = await mine.submit(sleeping())
        await mine.ask("POST", f"/interrupt?client_id={mine.client_id}")
        record = await mine.ended(running)
        assert not record["status"]["completed"]
        await mine.runs(waits)
        assert set((await mine.queue())[0]) == {others, waits}
        await other.ask("GET", f"/interrupt?clientId={other.client_id}")
        await other.ended(others)
        await mine.ask("POST", "/interrupt", data=b"not json", headers={"X-Client-Id": str(mine.client_id)})
        await mine.ended(waits)


async def test_an_interrupt_of_what_is_being_posted_catches_it_after(state: str, scripted_worker: Scripted) -> None:
    go_on = asyncio.Event()
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        await client.submit(sleeping())
        id = await client.submit(sleeping())
        scripted_worker.manners.append(late(go_on))
        scripted_worker.finish()
        await until(lambda: scripted_worker.stalled, "it is being posted")
        await client.send("/interrupt", {"prompt_id": id})
        assert scripted_worker.interrupted == []
        go_on.set()
        record = await client.ended(id)
        assert record["status"]["messages"][-1][0] == "execution_interrupted"
        assert record["status"]["messages"][-1][1]["prompt_id"] == id
        assert (await client.job(id))["state"] == "interrupted"
        assert len(scripted_worker.interrupted) == 1


async def test_an_interrupt_of_one_that_its_client_is_still_waiting_to_hear_of_does_nothing(
    state: str, scripted_worker: Scripted
) -> None:
    """It is not accepted yet: as if the interrupt had come before the post."""
    go_on = asyncio.Event()
    scripted_worker.manners.append(late(go_on))
    async with farm(state, scripted_worker) as gateway:
        client, id = gateway.client(), str(uuid.uuid4())
        posting = asyncio.create_task(client.post(picture(), prompt_id=id))
        await until(lambda: scripted_worker.stalled, "it is being posted")
        assert await client.queue() == ([], [])
        await client.send("/interrupt", {"prompt_id": id})
        go_on.set()
        assert (await posting).status == 200
        await scripted_worker.runs()
        scripted_worker.finish()
        assert (await client.ended(id))["status"]["completed"]


async def test_what_is_interrupted_before_it_runs_there_ends_as_interrupted(
    state: str, scripted_worker: Scripted
) -> None:
    """On its worker behind somebody else's prompt."""
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        scripted_worker.take({"prompt": picture()})
        await until_foreign(gateway, 1)
        id = await client.submit(sleeping())
        await until(lambda: len(scripted_worker.pending) == 1, "it is there")
        await client.send("/interrupt", {"prompt_id": id})
        record = await client.ended(id)
        assert record["status"]["messages"][-1][0] == "execution_interrupted"
        assert len(scripted_worker.running) == 1
        assert scripted_worker.interrupted == []


async def test_an_interrupt_is_carried_out_when_its_worker_answers_again(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        id = await client.submit(sleeping())
        await client.runs(id)
        await scripted_worker.down()
        await client.send("/interrupt", {"prompt_id": id})
        record = await client.ended(id)
        assert record["status"]["messages"][-1][0] == "execution_interrupted"
        await scripted_worker.up()
        await gateway.ready()
        await until(lambda: not scripted_worker.running, "it does not go on there")
        assert list(await client.get("/history")) == [id]


# cancel


async def test_cancel_deletes_what_waits_and_interrupts_what_runs(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        running, waits, last = [await client.submit(sleeping()) for _ in range(3)]
        await client.runs(running)
        assert (await client.send(f"/api/jobs/{waits}/cancel")).json == {"cancelled": True}
        assert (await client.send(f"/api/jobs/{waits}/cancel")).json == {"cancelled": False}
        assert await client.queue() == ([running], [last])
        told = await client.send("/api/jobs/cancel", {"job_ids": [running, last]})
        assert told.json == {"cancelled": True}
        assert (await client.ended(running))["status"]["messages"][-1][0] == "execution_interrupted"
        assert await client.queue() == ([], [])
        assert await client.record(last) is None


# free


async def test_free_reaches_every_worker_that_answers(
    state: str, scripted_worker: Scripted, second_worker: Scripted
) -> None:
    body = {"unload_models": True, "free_memory": False}
    async with farm(state, scripted_worker, second_worker) as gateway:
        answer = await gateway.client().send("/free", body)
        assert (answer.status, answer.body) == (200, b"")
        assert scripted_worker.freed == second_worker.freed == [body]
        await second_worker.down()
        assert (await gateway.client().send("/api/free", body)).status == 200
        assert scripted_worker.freed == [body, body]


async def interrupt(client: Client, method: str, id: str) -> None:
    if method == "GET":
        answer = await client.ask("GET", f"/interrupt?prompt_id={id}")
    else:
        answer = await client.send("/interrupt", {"prompt_id": id})
    assert (answer.status, answer.body) == (200, b"")


async def until_foreign(gateway: Any, count: int) -> None:
    async def seen() -> bool:
        return bool((await gateway.workers())["w0"]["foreign"] == count)

    await until(seen, f"{count} prompts of others are seen")


async def until_pending(client: Client, id: str) -> None:
    async def seen() -> bool:
        return id in (await client.queue())[1]

    await until(seen, "it is told as pending")
