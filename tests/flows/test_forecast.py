"""What clients are told of when their prompts start and end."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.domain.ids import AttemptId, PromptId, WorkerName
from gateway.domain.jobs import Running
from gateway.flows.forecast import Forecast
from tests.domain.facts import job
from tests.farm import farm, picture, timed, with_model
from tests.scripted import Scripted

pytestmark = pytest.mark.anyio


async def test_the_eta_of_what_waits_counts_what_is_before_it(state: str, scripted_worker: Scripted) -> None:
    scripted_worker.instant = True
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        await client.ended(await client.submit(timed(scripted_worker, 50.0)))
        for _ in range(5):
            await client.ended(await client.submit(timed(scripted_worker, 100.0)))
        scripted_worker.instant = False
        runs, *waiting = [await client.submit(timed(scripted_worker, 100.0)) for _ in range(3)]
        etas = [(await client.job(id))["eta"] for id in (runs, *waiting)]
        assert etas == pytest.approx([100, 200, 300], rel=0.2)
        starts = [(await client.job(id))["estimated_start_seconds"] for id in waiting]
        assert starts == pytest.approx([100, 200], rel=0.2)


async def test_a_full_queue_says_when_the_next_prompt_will_start(state: str, scripted_worker: Scripted) -> None:
    scripted_worker.instant = True
    async with farm(state, scripted_worker, max_queue=1) as gateway:
        client = gateway.client()
        for _ in range(6):
            await client.ended(await client.submit(timed(scripted_worker, 90.0)))
        scripted_worker.instant = False
        for _ in range(2):
            await client.submit(timed(scripted_worker, 90.0))
        answer = await client.post(picture())
        assert answer.status == 503
        assert 60 < int(answer.headers["Retry-After"]) < 120


async def test_the_prompts_before_one_are_given_to_the_workers_as_they_fall_free(
    state: str, scripted_worker: Scripted, second_worker: Scripted
) -> None:
    for worker in (scripted_worker, second_worker):
        worker.instant = True
    async with farm(state, scripted_worker, second_worker) as gateway:
        client = gateway.client()
        for worker in (scripted_worker, second_worker):
            timed(worker, 100.0)
        for _ in range(8):
            await client.ended(await client.submit(picture()))
        for worker in (scripted_worker, second_worker):
            worker.instant = False
        ids = [await client.submit(picture()) for _ in range(6)]
        etas = [(await client.job(id))["eta"] for id in ids]
        assert etas == pytest.approx([100, 100, 200, 200, 300, 300], rel=0.2)


async def test_a_prompt_waits_for_a_busy_worker_by_what_was_learned_of_its_runs_and_loads(
    state: str, scripted_worker: Scripted, second_worker: Scripted
) -> None:
    """120 s to load, 10 s to run: what a busy worker holds is sooner there than on one that has nothing loaded."""
    workers = {"w0": scripted_worker, "w1": second_worker}
    for worker in workers.values():
        worker.instant = True
    async with farm(state, *workers.values()) as gateway:
        client = gateway.client()
        for seconds in (130.0, 10.0, 10.0, 10.0):
            for worker in workers.values():
                timed(worker, seconds)
            id = await client.submit(with_model("a.safetensors"))
            await client.ended(id)
        name = (await client.job(id))["worker"]
        holder, empty = workers.pop(name), *workers.values()
        assert len(holder.started) == 4
        holder.instant = empty.instant = False
        runs = await client.submit(with_model("a.safetensors"))
        waits = await client.submit(with_model("a.safetensors"))
        await client.runs(runs)
        other = await client.submit(with_model("b.safetensors"))
        await empty.runs()
        assert (await client.job(other))["worker"] != name, "that one was free all the time"
        empty.finish()
        await client.ended(other)
        assert await client.state(waits) == "queued"
        assert (await client.job(waits))["estimated_start_seconds"] == pytest.approx(10, rel=0.3)
        holder.finish()
        await client.runs(waits)
        told = await client.job(waits)
        assert (told["worker"], told["reason"]) == (name, "waited-for-resident")


@pytest.mark.parametrize(
    ("ran", "left"),
    [(0.0, 10.0), (4.0, 6.0), (10.0, 1.0), (50.0, 5.0)],
    ids=["begins", "runs", "is due", "is overdue: it may take a tenth of its time more"],
)
async def test_placement_is_told_when_what_runs_is_expected_to_end(ran: float, left: float) -> None:
    w, told = WorkerName("w"), dict[PromptId, float]()
    now = time.time()
    runs = job("p", state=Running(w, AttemptId("a"), now - ran))
    mirror = SimpleNamespace(workers={w: None}, on=lambda name: [(runs, None)])
    learner = SimpleNamespace(
        place=1, run=lambda work, name: 8.0, missing=lambda work, name: ["m"], load=lambda m, n: 2.0
    )
    forecast = Forecast(cast("Any", mirror), cast("Any", _Ends(told)), cast("Any", learner), cast("Any", None))
    await forecast.tick()
    assert told == {"p": pytest.approx(now + left, abs=1.0)}
    learner.place = 0
    told.clear()
    await forecast.tick()
    assert not told, "nothing was learned yet"


class _Ends:
    def __init__(self, told: dict[PromptId, float]) -> None:
        self.ends_at = told.__setitem__
