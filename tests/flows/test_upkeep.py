"""What a gateway makes of its settings when it starts, and what the leading one cleans up."""

from __future__ import annotations

import pytest

from gateway.domain.addresses import worker_addresses
from gateway.domain.ids import PromptId, WorkerName
from gateway.domain.ports import WorkerEntry
from gateway.flows.upkeep import Upkeep
from tests.adapters.stores import DONE, KEYS, ROOM, admit, attempt, new
from tests.flows.replica import Replica, replica

pytestmark = pytest.mark.anyio

A, B, C = map(WorkerName, "abc")


def upkeep(at: Replica, *, leads: bool = True) -> Upkeep:
    return Upkeep(at.store.jobs, at.store.farm, at.mirror, leads=lambda: leads)


async def configured(at: Replica, *words: str, home: str = "") -> None:
    addresses = worker_addresses(words)
    await upkeep(at).configure(addresses, WorkerName(home) if home else None, {})
    await at.mirror.fresh()


async def test_the_workers_of_the_settings_are_the_farm_and_the_first_is_home(state: str) -> None:
    async with replica(state) as here:
        await configured(here, "b=http://b:1", "a=http://a:1")
        workers = here.mirror.workers
        assert {name: worker.url for name, worker in workers.items()} == {"a": "http://a:1", "b": "http://b:1"}
        assert all(worker.configured for worker in workers.values())
        assert here.mirror.home == "b"


async def test_a_worker_that_is_not_in_the_settings_any_more_leaves_and_those_of_the_api_stay(state: str) -> None:
    async with replica(state) as here:
        await configured(here, "a=http://a:1", "b=http://b:1")
        await here.store.farm.put(WorkerEntry(C, "http://c:1"))
        await here.store.jobs.accept(new("p"), ROOM)
        await admit(here.store, attempt("p", "a").worker)
        await here.store.jobs.claim(attempt("p", "a"), "{}")
        await configured(here, "b=http://b:1")
        assert here.mirror.workers[A].leaving
        assert here.mirror.workers[A].draining
        assert not here.mirror.workers[C].draining
        assert here.mirror.home == "b"
        await upkeep(here).tick()
        await here.mirror.fresh()
        assert set(here.mirror.workers) == {"a", "b", "c"}  # it still holds a prompt
        await here.store.jobs.cancel(PromptId("p"))
        tried = here.mirror.on(A)[0][1]
        await here.store.jobs.finish(PromptId("p"), tried, DONE)
        await upkeep(here, leads=False).tick()
        await here.mirror.fresh()
        assert A in here.mirror.workers
        await upkeep(here).tick()
        await here.mirror.fresh()
        assert set(here.mirror.workers) == {"b", "c"}


async def test_settings_without_workers_change_nothing(state: str) -> None:
    async with replica(state) as here:
        await configured(here, "a=http://a:1")
        await configured(here)
        assert not here.mirror.workers[A].leaving


async def test_draining_outlives_a_restart_and_leaving_does_not(state: str) -> None:
    async with replica(state) as here:
        await configured(here, "a=http://a:1", "b=http://b:1")
        await here.store.farm.put(WorkerEntry(A, "http://a:1", draining=True, configured=True))
        await configured(here, "a=http://a:1")
        assert here.mirror.workers[A].draining
        assert here.mirror.workers[B].leaving
        await configured(here, "a=http://a:1", "b=http://b:1")
        assert not here.mirror.workers[B].draining
        assert not here.mirror.workers[B].leaving


async def test_the_home_is_kept_but_for_another_in_the_settings(state: str) -> None:
    async with replica(state) as here:
        await configured(here, "a=http://a:1", "b=http://b:1")
        await configured(here, "b=http://b:1", "a=http://a:1")
        assert here.mirror.home == "a"
        await configured(here, "b=http://b:1", "a=http://a:1", home="b")
        assert here.mirror.home == "b"


async def test_history_whose_records_have_expired_is_forgotten(state: str) -> None:
    async with replica(state) as here:
        for id in ("old", "young"):
            tried = attempt(id)
            await here.store.jobs.accept(new(id), ROOM)
            await admit(here.store, tried.worker)
            await here.store.jobs.claim(tried, "{}")
            await here.store.jobs.finish(PromptId(id), tried, DONE)
        await here.store.redis.delete(KEYS.record(PromptId("old")), KEYS.job(PromptId("old")))  # as their time does
        await upkeep(here).tick()
        await here.mirror.fresh()
        assert here.mirror.history == ["young"]
