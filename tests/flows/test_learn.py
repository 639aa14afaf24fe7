"""What ends teaches: through the state, to every replica, and over restarts."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import Any

import pytest

from gateway.adapters.redis_lessons import RedisLessons
from gateway.domain.ids import WorkerName
from gateway.domain.learning import Learner, Lesson
from gateway.domain.placement import Model, Work
from gateway.domain.ports import WorkerEntry
from gateway.domain.workers import Down
from gateway.emulator.settings import EmulatorSettings
from gateway.flows.learn import Learn
from tests.adapters.stores import KEYS
from tests.farm import Client, Farm, Graph, emulated, farm, sleeping, timed
from tests.flows.replica import replica
from tests.scripted import Scripted
from tests.servers import until

pytestmark = pytest.mark.anyio

FAST, SLOW = EmulatorSettings(speed=1.0), EmulatorSettings(speed=0.5)


def work(seconds: float = 0.2, model: str = "a.safetensors", load: float = 0.4) -> Graph:
    """Loads a model and then takes its time."""
    graph = sleeping(seconds)
    graph["2"]["inputs"]["steps"] = 2
    given = {"image": ["1", 0], "model": model, "load_seconds": load}
    graph["4"] = {"class_type": "ProbeModel", "inputs": given}
    graph["2"]["inputs"]["image"] = ["4", 0]
    return graph


async def sample(client: Client, name: str) -> float:
    """A metric's value, summed over its labels."""
    text = (await client.ask("GET", "/metrics")).body.decode()
    return sum(float(value) for value in re.findall(rf"^comfygw_{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE))


async def errors_below(client: Client, ratio: float) -> tuple[float, float]:
    """How many predictions were off by at most that, and how many there were."""
    text = (await client.ask("GET", "/metrics")).body.decode()
    (below,) = re.findall(rf'^comfygw_predict_error_ratio_bucket{{le="{ratio}"}} (\S+)$', text, re.MULTILINE)
    return float(below), await sample(client, "predict_error_ratio_count")


async def test_times_are_learned_on_workers_of_two_speeds_and_loads_apart(state: str) -> None:
    async with emulated(FAST, SLOW) as workers, farm(state, *workers) as gateway:
        client = gateway.client()
        for round in range(9):
            ids = [await client.submit(work()) for _ in range(2)]
            await asyncio.gather(*(client.ended(id) for id in ids))
            if round == 1:
                early = await errors_below(client, 0.25)
        below, count = await errors_below(client, 0.25)
        assert (below - early[0]) / (count - early[1]) >= 0.5  # so the median error of these is at most a quarter
        assert await sample(client, "model_switches_total") == 2
        assert 0.2 < await sample(client, "job_switch_seconds_sum") < 10


async def test_what_was_learned_outlives_a_restart_and_is_known_to_all_replicas(
    state: str, scripted_worker: Scripted
) -> None:
    """By the scripted worker's clock each takes three seconds."""
    scripted_worker.instant = True
    async with farm(state, scripted_worker, replicas=2) as gateway:
        client = gateway.client()
        for _ in range(6):
            await client.ended(await client.submit(timed(scripted_worker, 3.0)))
        scripted_worker.instant = False
        running = await client.submit(timed(scripted_worker, 3.0))
        waits = await client.submit(timed(scripted_worker, 3.0))
        await until(lambda: _about(gateway, waits, 0), "one replica knows how long it takes")
        await until(lambda: _about(gateway, waits, 1), "the other one does too")
        assert await sample(client, "queue_gpu_seconds") == pytest.approx(3.0, rel=0.2)
    async with farm(state, scripted_worker) as again:
        await until(lambda: _about(again, waits, 0), "it is known after a restart")
        assert (await again.client().job(running))["eta"] < 4


async def _about(gateway: Farm, id: str, at: int) -> bool:
    eta = (await gateway.client(at=at).job(id))["eta"]
    return eta is not None and 2.5 < eta < 7


async def test_what_a_restart_frees_is_loaded_again_everywhere(state: str) -> None:
    """/free at one gateway, and all of them know that the models are gone."""
    async with emulated(FAST) as workers, farm(state, *workers, replicas=2) as gateway:
        client = gateway.client()
        for _ in range(3):
            await client.ended(await client.submit(work(0.01, load=0.01)))
        before = [await sample(gateway.client(at=at), "model_switches_total") for at in (0, 1)]
        assert sum(before) == 1
        assert (await gateway.client(at=1).send("/free", {"unload_models": True, "free_memory": True})).status == 200
        await client.ended(await client.submit(work(0.01, load=0.01)))

        async def switched() -> bool:
            return sum([await sample(gateway.client(at=at), "model_switches_total") for at in (0, 1)]) == 2

        await until(switched, "its model counts as loaded anew")


async def test_a_replica_hears_of_what_a_worker_lost_and_recalls_what_it_knew(state: str) -> None:
    async with replica(state) as here:
        lessons, learner = RedisLessons(here.store.redis, KEYS), Learner()
        learn = Learn(learner, lessons, here.mirror, here.placement, _Deaf(), lambda: True)
        w = WorkerName("w")
        await here.store.farm.put(WorkerEntry(w, "http://w"))
        await here.mirror.fresh()
        held = Work("s", "n", frozenset({Model("m", 1)}), ("p",))

        def ran(place: int) -> None:
            learner.ended(held, w, Lesson(1.0, 0, 1), place)
            assert learner.loaded(w) == [Model("m", 1)]

        ran(1)
        await here.store.farm.emptied(w, nodes=False)
        await here.mirror.fresh()
        assert learner.loaded(w) == []
        assert learner.run(held, w) < 0.1  # its node cache is as it was
        ran(2)
        await here.store.farm.publish(replace(here.mirror.workers[w], liveness=Down(1.0)))
        await here.mirror.fresh()
        assert learner.loaded(w) == []
        assert learner.run(held, w) > 0.1
        await learn.tick()
        again = Learner()
        await Learn(again, lessons, here.mirror, here.placement, _Deaf(), lambda: True).recall()
        assert again.dump() == learner.dump()
        await lessons.save({"format": 1, "place": "nonsense"})
        spoiled = Learner()
        await Learn(spoiled, lessons, here.mirror, here.placement, _Deaf(), lambda: False).recall()
        assert spoiled.place == 0


class _Deaf:
    """A recorder that keeps nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None
