from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from gateway.adapters.redis_events import RedisEvents
from gateway.domain.errors import NotFound
from gateway.domain.ids import PromptId, ReplicaId
from gateway.domain.ports import Ending, LoggedEvent
from gateway.flows.follow import Follow
from tests.adapters.stores import DONE, KEYS, ROOM, new
from tests.flows.replica import Replica, replica
from tests.flows.saying import event, executing

pytestmark = pytest.mark.anyio

P = PromptId("p")
END = event("execution_success", prompt_id="p")


@pytest.fixture
async def core(state: str) -> AsyncIterator[Replica]:
    async with replica(state) as one:
        await one.store.jobs.accept(new("p"), ROOM)
        yield one


def bus(core: Replica) -> RedisEvents:
    return RedisEvents(core.store.redis, core.store.run, KEYS, replica=ReplicaId("a"))


def follow(core: Replica) -> Follow:
    return Follow(bus(core), core.mirror)


async def end(core: Replica, told: str = END) -> None:
    ending = Ending(DONE.outcome, DONE.record, DONE.summary, told)
    await core.store.jobs.finish(P, None, ending)


async def everything(core: Replica, place: str = "") -> list[LoggedEvent]:
    return [one async for one in follow(core).events(P, place) if one is not None]


async def test_who_follows_hears_what_comes_up_to_the_end(core: Replica) -> None:
    await bus(core).log([(P, executing("p", "1"))])
    await follow(core).known(P)
    events = follow(core).events(P, "")
    heard = [await anext(events)]
    await bus(core).log([(P, executing("p", "2"))])
    heard.append(await anext(events))
    await end(core)
    heard += [one async for one in events]
    assert [one.event for one in heard if one] == [executing("p", "1"), executing("p", "2"), END]


async def test_from_every_place_the_rest_is_told(core: Replica) -> None:
    await bus(core).log([(P, executing("p", str(n))) for n in range(30)])
    await end(core)
    whole = await everything(core)
    assert len(whole) == 31
    for index, one in enumerate(whole):
        assert await everything(core, one.place) == whole[index + 1 :]


async def test_a_prompt_that_was_blocked_at_a_node_goes_on(core: Replica) -> None:
    blocked = event("execution_error", prompt_id="p", exception_type="ExecutionBlocked")
    await bus(core).log([(P, blocked), (P, executing("p"))])
    await end(core)
    assert [json.loads(one.event)["type"] for one in await everything(core)] == [
        "execution_error",
        "executing",
        "execution_success",
    ]


@pytest.mark.parametrize("told", ["execution_error", "execution_interrupted"])
async def test_every_kind_of_end_is_one(core: Replica, told: str) -> None:
    await end(core, event(told, prompt_id="p"))
    await bus(core).log([(P, executing("late"))])
    assert [json.loads(one.event)["type"] for one in await everything(core)] == [told]


async def test_it_ends_without_an_end_when_that_is_not_kept_any_more(core: Replica) -> None:
    await end(core)
    await core.store.redis.delete(KEYS.events(P))
    await follow(core).known(P)
    assert await everything(core) == []


async def test_it_ends_when_the_prompt_is_cancelled(core: Replica) -> None:
    await core.mirror.fresh()
    events = follow(core).events(P, "")
    await bus(core).log([(P, executing("p"))])
    assert await anext(events)
    await core.store.jobs.cancel(P)
    assert [one async for one in events] == []
    with pytest.raises(NotFound):
        await follow(core).known(P)


async def test_while_nothing_comes_that_is_said_now_and_then(core: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.flows.follow._HEARTBEAT", 0.2)
    await core.mirror.fresh()
    events = follow(core).events(P, "")
    assert await anext(events) is None
    assert await anext(events) is None
    await end(core)
    assert [one.event async for one in events if one] == [END]


async def test_what_nobody_knows_is_not_found(core: Replica) -> None:
    with pytest.raises(NotFound, match="unknown"):
        await follow(core).known(PromptId("unknown"))
