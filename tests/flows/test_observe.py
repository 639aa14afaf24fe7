"""Looking at a worker: what is read when, and what becomes of its liveness."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from gateway.adapters.comfy import ComfyApi
from gateway.adapters.relay import new_session
from gateway.domain.ids import WorkerName
from gateway.domain.ports import WorkerEntry
from gateway.domain.workers import Down, HalfOpen, Suspect, Unknown, Up, Worker
from gateway.flows.observe import Observer, Rhythm
from tests.adapters.stores import KEYS
from tests.farm import picture
from tests.flows.replica import Replica, replica
from tests.scripted import Scripted

pytestmark = pytest.mark.anyio


@dataclass
class Looking:
    """An observer whose clock a test sets; each look is of what the last one saw."""

    at: Replica
    observer: Observer
    seen: Worker
    now: list[float]
    ours: list[int] = field(default_factory=lambda: [0])

    async def look(self, after: float = 0.0) -> Worker:
        self.now[0] += after
        self.seen = await self.observer.look(self.seen)
        return self.seen

    async def published(self) -> Worker:
        await self.at.mirror.fresh()
        return self.at.mirror.workers[self.seen.name]


@asynccontextmanager
async def looking(state: str, worker: Scripted, **rhythm: float) -> AsyncIterator[Looking]:
    async with replica(state) as here, new_session(connect_timeout=1) as session:
        name = WorkerName("w0")
        await here.store.farm.put(WorkerEntry(name, worker.url))
        await here.mirror.fresh()
        now, ours = [1000.0], [0]
        comfy = ComfyApi(session, connect_timeout=1)
        clock: Any = lambda: now[0]  # noqa: E731
        observer = Observer(comfy, here.store.farm, here.catalogues, Rhythm(**rhythm), lambda: ours[0], clock)
        yield Looking(here, observer, here.mirror.workers[name], now, ours)


async def test_the_first_look_tells_all_and_publishes_it(state: str, scripted_worker: Scripted) -> None:
    async with looking(state, scripted_worker) as observed:
        seen = await observed.look()
        assert isinstance(seen.liveness, Up)
        assert seen.vram_total == scripted_worker.vram
        assert seen.catalogue is not None
        assert seen.catalogue.classes == scripted_worker.nodes.keys()
        published = await observed.published()
        assert (published.liveness, published.catalogue_digest) == (Up(), seen.catalogue_digest)


async def test_each_thing_is_read_on_its_own_clock(state: str, scripted_worker: Scripted) -> None:
    async with looking(state, scripted_worker) as observed:
        await observed.look()
        for _ in range(120):
            await observed.look(after=1.0)
        asked = scripted_worker.requests
        assert 17 <= asked["GET /prompt"] <= 32  # every 5 s
        assert 6 <= asked["GET /system_stats"] <= 12  # every 15 s
        assert 2 <= asked["GET /object_info"] <= 4  # every 60 s


async def test_nothing_new_is_nothing_published(state: str, scripted_worker: Scripted) -> None:
    async with looking(state, scripted_worker) as observed:
        await observed.look()
        await observed.at.mirror.fresh()
        version = observed.at.mirror.version
        for _ in range(20):
            await observed.look(after=5.0)
        await observed.at.mirror.fresh()
        assert observed.at.mirror.version == version


async def test_it_says_when_to_look_again(state: str, scripted_worker: Scripted) -> None:
    async with looking(state, scripted_worker) as observed:
        assert observed.observer.next_look() == 0
        await observed.look()
        assert 4 <= observed.observer.next_look() <= 6
        observed.observer.hurry("poll")
        assert observed.observer.next_look() == 0


async def test_a_refused_connection_is_down_and_one_that_returns_is_half_open_then_up(
    state: str, scripted_worker: Scripted
) -> None:
    async with looking(state, scripted_worker) as observed:
        await observed.look()
        reads = scripted_worker.requests["GET /object_info"]
        await scripted_worker.down()
        seen = await observed.look(after=10)
        assert isinstance(seen.liveness, Down)
        assert seen.catalogue is not None
        assert seen.error
        assert isinstance((await observed.published()).liveness, Down)
        await scripted_worker.up()
        seen = await observed.look(after=2)
        assert isinstance(seen.liveness, HalfOpen)
        assert scripted_worker.requests["GET /object_info"] == reads + 1
        assert isinstance((await observed.look(after=2)).liveness, Up)


async def test_one_that_comes_is_listened_to_before_it_is_said_to_be_there(
    state: str, scripted_worker: Scripted
) -> None:
    async with looking(state, scripted_worker) as observed:
        asked = 0

        async def joined() -> str:
            nonlocal asked
            asked += 1
            return f"name {asked}"

        observed.observer.joined = joined
        assert (await observed.look()).sid == "name 1"
        assert (await observed.published()).sid == "name 1"
        observed.seen = replace(observed.seen, sid="")
        await observed.look(after=10)
        assert asked == 1, "it was there before: nothing waits for a socket that is being made again"
        await scripted_worker.down()
        await observed.look(after=10)
        await scripted_worker.up()
        assert (await observed.look(after=2)).sid == "name 2"


async def test_what_does_not_change_is_said_again_before_it_is_forgotten(state: str, scripted_worker: Scripted) -> None:
    async with looking(state, scripted_worker) as observed:
        await observed.look()
        assert await observed.at.store.redis.delete(KEYS.seen(WorkerName("w0"))) == 1
        await observed.at.store.farm.put(WorkerEntry(WorkerName("w0"), scripted_worker.url, draining=True))
        await observed.look(after=10)
        assert isinstance((await observed.published()).liveness, Unknown)
        await observed.look(after=7200)
        assert isinstance((await observed.published()).liveness, Up)


async def test_three_answers_that_never_came_are_down(state: str, scripted_worker: Scripted) -> None:
    async with looking(state, scripted_worker, poll_timeout=0.05) as observed:
        await observed.look()
        with scripted_worker.silent():
            states = [(await observed.look(after=10)).liveness for _ in range(3)]
        assert states[:2] == [Suspect(1), Suspect(2)]
        assert isinstance(states[2], Down)


async def test_a_slow_answer_is_suspect_and_never_down(state: str, scripted_worker: Scripted) -> None:
    async with looking(state, scripted_worker, slow_answer=-1.0) as observed:
        for _ in range(5):
            assert (await observed.look(after=10)).liveness == Suspect(0)


async def test_prompts_of_others_count_when_seen_twice(state: str, scripted_worker: Scripted) -> None:
    async with looking(state, scripted_worker) as observed:
        await observed.look()
        for _ in range(2):
            scripted_worker.take({"prompt": picture()})
        assert (await observed.look(after=10)).foreign == 0
        assert observed.observer.next_look() < 1  # and soon again
        assert (await observed.look(after=1)).foreign == 2
        assert (await observed.published()).foreign == 2
        scripted_worker.finish()
        assert (await observed.look(after=10)).foreign == 1
        scripted_worker.finish()
        assert (await observed.look(after=10)).foreign == 0


async def test_nodes_that_cannot_be_read_are_asked_for_again_soon(state: str, scripted_worker: Scripted) -> None:
    good, scripted_worker.nodes = scripted_worker.nodes, []  # type: ignore[assignment]
    async with looking(state, scripted_worker) as observed:
        seen = await observed.look()
        assert seen.catalogue is None
        assert "object_info" in seen.error
        await observed.look(after=0.1)
        assert scripted_worker.requests["GET /object_info"] == 1
        scripted_worker.nodes = good
        seen = await observed.look(after=2)
        assert seen.catalogue is not None


async def test_other_nodes_are_published(state: str, scripted_worker: Scripted) -> None:
    async with looking(state, scripted_worker) as observed:
        before = (await observed.look()).catalogue_digest
        del scripted_worker.nodes["ProbeFail"]
        await observed.look(after=100)
        published = await observed.published()
        assert published.catalogue_digest != before
        assert published.catalogue is not None
        assert "ProbeFail" not in published.catalogue.classes
