"""Who answers what the gateway does not answer itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.adapters.comfy import ComfyApi
from gateway.domain.ids import WorkerName
from gateway.domain.ports import WorkerEntry
from gateway.domain.workers import Down, Liveness, Suspect, Unknown, Up
from gateway.flows.homes import HomesOf
from tests.flows.replica import Replica, replica

pytestmark = pytest.mark.anyio


async def farmed(at: Replica, **workers: Liveness) -> HomesOf:
    """Workers in the order given; the first is the home."""
    for name, liveness in workers.items():
        await at.store.farm.put(WorkerEntry(WorkerName(name), f"http://{name}:1"))
        await at.mirror.fresh()
        seen = replace(at.mirror.workers[WorkerName(name)], liveness=liveness)
        away = liveness.since if isinstance(liveness, Down) else 0.0
        await at.store.farm.publish(replace(seen, away_since=away))
    await at.mirror.fresh()
    unused: Any = None
    return HomesOf(at.mirror, ComfyApi(unused, connect_timeout=1), grace=60)


def names(workers: Any) -> list[str]:
    return [worker.name for worker in workers]


async def test_the_home_is_the_same_up_or_not(state: str) -> None:
    async with replica(state) as here:
        homes = await farmed(here, b=Down(1.0), a=Up())
        home = homes.home()
        assert home is not None
        assert home.name == "b"
        assert names(homes.others()) == ["a"]


async def test_an_empty_farm_has_no_home(state: str) -> None:
    async with replica(state) as here:
        homes = await farmed(here)
        assert (homes.home(), homes.others(), homes.workers()) == (None, [], [])


async def test_others_are_those_that_answer(state: str) -> None:
    async with replica(state) as here:
        homes = await farmed(here, h=Up(), a=Suspect(1), b=Down(1.0), c=Unknown(), d=Up())
        assert sorted(names(homes.others())) == ["a", "d"]
        assert homes.named(WorkerName("b")) is not None
        assert homes.named(WorkerName("z")) is None


async def test_catalogues_are_read_from_the_home_first_and_the_long_lost_are_left_out(state: str) -> None:
    async with replica(state) as here:
        homes = await farmed(here, h=Up(), a=Up(), lost=Down(1.0))
        assert names(homes.workers()) == ["h", "a"]
