"""The workers as their owner changes them, and what it means for prompts."""

from __future__ import annotations

import pytest

from tests.farm import farm, picture, sleeping, with_model
from tests.scripted import Scripted
from tests.servers import until

pytestmark = pytest.mark.anyio


async def test_a_worker_is_shown_as_it_is(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        id = await client.submit(sleeping())
        shown = (await gateway.workers())["w0"]
        assert shown | {"lives": ...} == await client.get("/gateway/workers/w0") | {"lives": ...}
        del shown["lives"]  # known once its disk has been looked at
        assert shown == {
            "name": "w0",
            "url": scripted_worker.url,
            "state": "up",
            "draining": False,
            "labels": [],
            "home": True,
            "running": [id],
            "foreign": 0,
            "vram_total": scripted_worker.vram,
            "vram_free": scripted_worker.vram,
            "version": "0.3.64",
            "node_classes": len(scripted_worker.nodes),
            "error": "",
        }


async def test_a_draining_worker_ends_what_it_has_and_takes_no_more(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        runs = await client.submit(sleeping())
        assert (await client.send("/gateway/workers/w0/drain")).json["draining"]
        waits = await client.submit(picture())
        scripted_worker.finish()
        assert (await client.ended(runs))["status"]["completed"]
        assert (await client.job(waits))["workers"] == {"w0": "draining"}
        assert len(scripted_worker.received) == 1
        assert not (await client.send("/gateway/workers/w0/resume")).json["draining"]
        await scripted_worker.runs(2)
        assert scripted_worker.prompts() == [runs, waits]


async def test_a_worker_added_takes_what_waits(state: str, scripted_worker: Scripted, second_worker: Scripted) -> None:
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        await client.submit(sleeping())
        id = await client.submit(picture())
        answer = await client.send("/gateway/workers", {"url": second_worker.url, "name": "spare"})
        assert (answer.status, answer.json["name"], answer.json["home"]) == (201, "spare", False)
        await second_worker.runs()
        assert second_worker.prompts() == [id]


async def test_a_name_or_an_address_is_given_once(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        for body, field in (
            ({"url": scripted_worker.url, "name": "again"}, "url"),
            ({"url": "http://127.0.0.1:9", "name": "w0"}, "name"),
        ):
            answer = await client.send("/gateway/workers", body)
            assert (answer.status, answer.json["error"]["extra_info"]) == (400, {"field": field})
        assert set(await gateway.workers()) == {"w0"}


async def test_a_busy_worker_is_not_removed_and_an_idle_one_is(
    state: str, scripted_worker: Scripted, second_worker: Scripted
) -> None:
    async with farm(state, scripted_worker, second_worker) as gateway:
        client = gateway.client()
        id = await client.submit(sleeping())
        await client.runs(id)
        busy, idle = ("w0", "w1") if scripted_worker.running else ("w1", "w0")
        refused = await client.ask("DELETE", f"/gateway/workers/{busy}")
        assert refused.status == 400
        assert "drain" in refused.json["error"]["message"]
        assert (await client.ask("DELETE", f"/gateway/workers/{idle}")).status == 204
        assert (await client.ask("DELETE", f"/gateway/workers/{idle}")).status == 404
        assert set(await gateway.workers()) == {busy}
        assert (await gateway.workers())[busy]["home"]


async def test_all_that_waits_and_runs_is_listed(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker) as gateway:
        client, nameless = gateway.client(), gateway.client(None)
        running, waiting = await client.submit(sleeping()), await nameless.submit(picture())
        await client.runs(running)
        jobs = {job["id"]: job for job in (await client.get("/gateway/jobs"))["jobs"]}
        assert set(jobs) == {running, waiting}
        assert (jobs[running]["state"], jobs[running]["worker"]) == ("running", "w0")
        assert (jobs[waiting]["state"], jobs[waiting]["caller"]) == ("queued", "127.0.0.1")
        assert jobs[waiting]["age_seconds"] >= 0


async def test_an_ended_prompt_tells_where_and_why_there(
    state: str, scripted_worker: Scripted, second_worker: Scripted
) -> None:
    del scripted_worker.nodes["ProbeModel"]
    async with farm(state, scripted_worker, second_worker) as gateway:
        client = gateway.client()
        for _ in range(2):
            await client.submit(sleeping())
        id = await client.submit(with_model("a.safetensors"))
        second_worker.finish()
        await second_worker.runs(2)
        second_worker.finish()
        await client.ended(id)
        told = await client.job(id)
        assert (told["state"], told["worker"]) == ("succeeded", "w1")
        assert told["others"] == {"w0": "node class ProbeModel is not installed"}
        assert told["needs"]["models"] == ["a.safetensors"]


async def test_an_estimate_comes_once_prompts_have_ended(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        await client.submit(sleeping())
        id = await client.submit(sleeping())
        assert (await client.job(id))["estimated_start_seconds"] is None
        for _ in range(2):
            ended = scripted_worker.finish()
            await until(lambda ended=ended: scripted_worker.told[ended], "its end is seen")  # type: ignore[misc]
            await client.submit(sleeping())
            await scripted_worker.runs(len(scripted_worker.told) + 1)
        last = await client.submit(sleeping())
        assert (await client.job(last))["estimated_start_seconds"] >= 0


@pytest.mark.parametrize("path", ["/gateway/workers/nobody", "/gateway/jobs/nobody"])
async def test_what_nobody_knows_is_not_found(state: str, path: str) -> None:
    async with farm(state) as gateway:
        answer = await gateway.client().ask("GET", path)
        assert (answer.status, answer.json["error"]["type"]) == (404, "not_found")
        assert (await gateway.client().send("/gateway/workers/nobody/drain")).status == 404
