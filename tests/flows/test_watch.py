"""Prompts on their workers: the end is found however it shows, and costs each worker little."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
import redis

from gateway.adapters.comfy import ComfyApi
from gateway.adapters.relay import new_session
from gateway.emulator.settings import EmulatorSettings
from tests.farm import Client, Farm, emulated, farm, picture, sleeping
from tests.flows.replica import given, replica, watching
from tests.scripted import Scripted, refuses
from tests.servers import until

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("deaf", [False, True])
async def test_the_end_is_seen_and_its_record_read_once(state: str, scripted_worker: Scripted, deaf: bool) -> None:
    scripted_worker.deaf = deaf
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        id = await client.submit(picture())
        await client.runs(id)
        attempt = scripted_worker.finish()
        await client.ended(id)
        assert scripted_worker.told == {attempt: 1}


async def test_polling_costs_the_worker_nothing(state: str, scripted_worker: Scripted) -> None:
    slow: dict[str, Any] = {"poll_every": 3600, "stats_every": 3600, "catalogue_every": 3600}
    async with farm(state, scripted_worker, **slow) as gateway:
        client = gateway.client()
        id = await client.submit(picture())
        await client.runs(id)
        scripted_worker.finish()
        await client.ended(id)
        before = scripted_worker.requests.copy()
        for path in ("/queue", "/history", f"/history/{id}", "/prompt", "/api/jobs", f"/api/jobs/{id}"):
            for _ in range(5):
                await client.get(path)
        assert scripted_worker.requests == before


async def test_a_worker_that_lost_its_memory_costs_one_attempt(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        id = await client.submit(picture())
        await client.runs(id)
        scripted_worker.forget()
        await scripted_worker.runs(2)
        scripted_worker.finish()
        assert (await client.ended(id))["status"]["completed"]
        job = await client.job(id)
        assert (job["attempts"], job["crashes"]) == (2, 1)


async def test_a_worker_that_answers_late_keeps_what_it_runs(state: str, scripted_worker: Scripted) -> None:
    """One that loads a model may be silent for long; only a refused connection is a death."""
    async with farm(state, scripted_worker, wait=False, slow_answer=0.000001) as gateway:
        await gateway.sees(w0="suspect")
        client = gateway.client()
        id = await client.submit(picture())
        await client.runs(id)
        scripted_worker.finish()
        await client.ended(id)
        assert (await client.job(id))["attempts"] == 1


async def test_prompts_of_others_are_load_and_never_touched(
    state: str, scripted_worker: Scripted, second_worker: Scripted
) -> None:
    async with farm(state, scripted_worker, second_worker) as gateway:
        client = gateway.client(None)
        foreign = [scripted_worker.take({"prompt": picture(), "client_id": "them"}) for _ in range(2)]
        await until(lambda: _foreign(gateway, "w0", 2), "the prompts of others are seen")
        ids = [await client.submit(picture()) for _ in range(2)]
        await second_worker.runs()
        assert second_worker.prompts() == ids[:1]
        assert {*itertools.chain(*await client.queue())} == set(ids)
        for path, body in (
            ("/interrupt", None),
            ("/queue", {"clear": True}),
            ("/queue", {"delete": foreign}),
            ("/interrupt", {"prompt_id": foreign[0]}),
        ):
            await client.send(path, body)
        await client.ended(ids[0])
        assert [*scripted_worker.running, *scripted_worker.pending] == foreign
        assert not set(foreign) & {*scripted_worker.deleted, *scripted_worker.interrupted}
        assert await client.get(f"/history/{foreign[0]}") == {}


async def test_a_rejection_after_the_200_ends_the_prompt_with_the_workers_words(
    state: str, scripted_worker: Scripted
) -> None:
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        await client.submit(sleeping())
        id = await client.submit(picture())
        scripted_worker.manners.append(refuses(b'{"error": "changed my mind"}'))
        scripted_worker.finish()
        record = await client.ended(id)
        ((event, told),) = record["status"]["messages"]
        assert (event, told["node_id"]) == ("execution_error", "")
        assert told["exception_message"] == '{"error": "changed my mind"}'
        assert await client.state(id) == "failed"


async def test_a_rejection_after_the_200_goes_to_another_that_takes_it(
    state: str, scripted_worker: Scripted, second_worker: Scripted
) -> None:
    async with farm(state, scripted_worker, second_worker) as gateway:
        client = gateway.client()
        for _ in range(2):
            await client.submit(sleeping())
        id = await client.submit(picture())
        scripted_worker.manners.append(refuses())
        scripted_worker.finish()
        await until(lambda: not scripted_worker.manners, "it was refused")
        second_worker.finish()
        await second_worker.runs(2)
        assert second_worker.prompts()[1] == id
        second_worker.finish()
        assert (await client.ended(id))["status"]["completed"]


async def test_keys_reach_the_worker_and_are_nowhere_else(state: str, scripted_worker: Scripted) -> None:
    secrets = {"api_key_comfy_org": "hush-1", "auth_token_comfy_org": "hush-2"}
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        ids = [await client.submit(picture(), extra_data={**secrets, "seen": 1}) for _ in range(2)]
        for id in ids:
            await until(lambda id=id: id in scripted_worker.prompts(), "it runs")  # type: ignore[misc]
            extra_data = scripted_worker.received[-1]["extra_data"]
            assert {key: extra_data[key] for key in secrets} == secrets
            await _nowhere(gateway, ids, b"hush")
            scripted_worker.finish()
            record = await client.ended(id)
            assert record["prompt"][3] == {"seen": 1, "client_id": client.client_id}
        await _nowhere(gateway, ids, b"hush")
        with redis.Redis.from_url(state) as store:
            dumps = [store.dump(key) for key in store.scan_iter()]
            assert not any(b"hush" in dump for dump in dumps if isinstance(dump, bytes))
            assert list(store.scan_iter("*:secret:*")) == []


async def test_each_poll_shows_a_prompt_in_the_queue_or_in_the_history(state: str, scripted_worker: Scripted) -> None:
    """Two gateways, so that one learns from the state what the other did."""
    scripted_worker.instant = True
    async with farm(state, scripted_worker, replicas=2) as gateway:
        clients = [gateway.client("me", at) for at in (0, 1)]
        ids: list[str] = []

        async def look(at: int) -> int:
            client, polls = clients[at], 0
            while len(ids) < 20 or len(await client.get("/history")) < 20:
                taken = list(ids)
                seen = {*itertools.chain(*await client.queue())}
                seen |= set(await client.get("/history"))
                assert set(taken) <= seen
                polls += 1
            return polls

        async def post() -> None:
            for number in range(20):
                ids.append(await clients[number % 2].submit(picture()))  # noqa: PERF401 - polled meanwhile

        polls = await asyncio.gather(look(0), look(1), post())
        assert min(polls[:2]) > 1
        assert sorted(scripted_worker.prompts()) == sorted(ids)


async def _foreign(gateway: Farm, name: str, count: int) -> bool:
    return bool((await gateway.workers())[name]["foreign"] == count)


async def _nowhere(gateway: Farm, ids: list[str], secret: bytes) -> None:
    client = gateway.client()
    paths = ["/queue", "/history", "/api/jobs", "/gateway/jobs", "/metrics"]
    paths += [f"{path}/{id}" for path in ("/history", "/api/jobs", "/gateway/jobs") for id in ids]
    for path in paths:
        assert secret not in (await client.ask("GET", path)).body, path


async def test_a_picture_whose_name_is_no_unicode_stops_nobody(state: str) -> None:
    async with emulated(EmulatorSettings()) as workers, farm(state, *workers) as gateway:
        client = gateway.client()
        graph = picture()
        saved = {"images": ["1", 0], "filename_prefix": "a\udc80"}
        graph["save"] = {"class_type": "SaveImage", "inputs": saved}
        for one in (graph, picture()):
            record = await client.ended(await client.submit(one))
            assert record["status"]["status_str"] == "success"


async def test_a_prompt_that_says_nothing_is_looked_up_though_its_worker_is_busy_with_others(
    state: str, scripted_worker: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.flows.watch._DEEP_EVERY", 0.3)
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        id = await client.submit(picture())
        await client.runs(id)
        scripted_worker.forget()
        scripted_worker.take({"prompt": picture()})
        await until(lambda: _attempts(client, id, 2), "it is found to be lost, and waits for another try")


async def _attempts(client: Client, id: str, count: int) -> bool:
    job = await client.job(id)
    return bool(job["state"] == "queued" or job["attempts"] >= count)


@pytest.mark.parametrize(("blind", "seconds"), [(True, 1.0), (False, 2.0)])
async def test_what_runs_where_nothing_is_heard_is_read_every_second(
    state: str, scripted_worker: Scripted, blind: bool, seconds: float
) -> None:
    async with replica(state) as core, new_session(connect_timeout=1) as session:
        tried, now = await given(core, scripted_worker), [1000.0]
        watch = watching(core, ComfyApi(session, connect_timeout=1), now)
        watch.blind = blind
        worker = core.mirror.workers[tried.worker]
        await watch.look(worker)
        sight = watch._sights[tried.id]
        sight.deep_at = now[0] + 1000
        now[0] += 60
        await watch.look(worker)
        assert watch.next_look() == pytest.approx(seconds)
        before = scripted_worker.requests.copy()
        now[0] += seconds - 0.01
        await watch.look(worker)
        assert scripted_worker.requests == before
        now[0] += 0.02
        await watch.look(worker)
        assert (scripted_worker.requests - before).total() == 2, "its history, and how much is there"
