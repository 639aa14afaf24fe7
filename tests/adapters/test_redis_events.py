from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from gateway.adapters.redis_events import RedisEvents
from gateway.adapters.redis_keys import EVENTS_KEPT, EVENTS_TTL
from gateway.domain.errors import StoreUnavailable
from gateway.domain.ids import ClientId, PromptId, ReplicaId
from gateway.domain.ports import Carried, Interest, Message, Subscribed
from tests.adapters.stores import DONE, KEYS, ROOM, Store, new, opened
from tests.servers import until
from tests.wire import nobody

pytestmark = pytest.mark.anyio

P, ME, A, B = PromptId("p"), ClientId("me"), ReplicaId("a"), ReplicaId("b")


@pytest.fixture
async def store(state: str) -> AsyncIterator[Store]:
    async with opened(state) as store:
        yield store


def bus(store: Store, replica: ReplicaId = A) -> RedisEvents:
    return RedisEvents(store.redis, store.run, KEYS, replica=replica)


@asynccontextmanager
async def heard_by(events: RedisEvents) -> AsyncIterator[list[Message]]:
    """What it is sent, from when it listens."""
    heard: list[Message] = []

    async def listen() -> None:
        async for message in events.messages():
            heard.append(message)  # noqa: PERF401 - seen as it grows

    task = asyncio.create_task(listen())
    try:
        await until(lambda: heard == [Subscribed()], "it listens")
        heard.clear()
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def has(heard: list[Message], enough: Callable[[], object]) -> list[Message]:
    await until(enough, f"enough was heard, not {heard}")
    return heard


async def test_events_are_kept_in_order_each_with_its_place(store: Store) -> None:
    events = [f'{{"n": {n}, "x": "\\u00e9 é"}}' for n in range(20)]
    places = await bus(store).log([(P, event) for event in events])
    logged = await bus(store).since(P, "")
    assert [(one.place, one.event) for one in logged] == list(zip(places, events, strict=True))
    assert [one.event for one in await bus(store).since(P, places[7])] == events[8:]
    assert await bus(store).since(P, places[-1]) == []
    assert await bus(store).since(PromptId("another"), "") == []
    assert await bus(store).log([]) == []


async def test_places_grow_over_all_replicas(store: Store) -> None:
    places = [(await bus(store, name).log([(P, "{}")]))[0] for name in (A, B) * 20]
    assert places == sorted(set(places), key=lambda place: tuple(map(int, place.split("-"))))


async def test_the_log_is_bounded_and_goes_by_itself(store: Store) -> None:
    await bus(store).log([(P, str(n)) for n in range(2 * EVENTS_KEPT)])
    kept = await bus(store).since(P, "")
    assert EVENTS_KEPT <= len(kept) < 1.2 * EVENTS_KEPT
    assert kept[-1].event == str(2 * EVENTS_KEPT - 1)
    assert EVENTS_TTL - 5 <= await store.redis.ttl(KEYS.events(P)) <= EVENTS_TTL


async def test_an_end_is_logged_with_the_record(store: Store) -> None:
    await store.jobs.accept(new("p"), ROOM)
    await bus(store).log([(P, "first")])
    ending = type(DONE)(DONE.outcome, DONE.record, DONE.summary, event="the end")
    await store.jobs.finish(P, None, ending)
    await store.jobs.finish(P, None, ending)
    assert [one.event for one in await bus(store).since(P, "")] == ["first", "the end"]
    assert 0 < await store.redis.ttl(KEYS.events(P)) <= EVENTS_TTL


async def test_frames_go_to_one_replica_unchanged_and_in_order(store: Store) -> None:
    sent = [
        Carried(P, ME, "1-1", '{"type": "executing", "x": "\\u00e9 é\\n\\ud800"}\n'),
        Carried(PromptId('"\n'), ClientId("\n{é"), None, bytes(range(256)) + b"\n\n"),
        Carried(P, ME, None, ""),
        Carried(P, ME, None, b""),
    ]
    async with heard_by(bus(store)) as heard, heard_by(bus(store, B)) as others:
        await bus(store, B).send(A, sent)
        assert await has(heard, lambda: len(heard) == len(sent)) == sent
        await bus(store).send(B, sent[:1])
        assert await has(others, lambda: others) == sent[:1]


async def test_whom_a_replica_has_is_told_to_all(store: Store) -> None:
    told = [Interest(B, frozenset((ME, ClientId("é\n"))), asks=True), Interest(B, frozenset())]
    async with heard_by(bus(store)) as heard, heard_by(bus(store, B)) as own:
        for interest in told:
            await bus(store, B).announce(interest)
        assert await has(heard, lambda: len(heard) == 2) == told
        assert await has(own, lambda: len(own) == 2) == told


async def test_a_lost_connection_is_made_anew_and_that_is_told(store: Store) -> None:
    async with heard_by(bus(store)) as heard:
        await store.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        assert await has(heard, lambda: heard) == [Subscribed()]
        await bus(store).send(A, [Carried(P, ME, None, "again")])
        assert await has(heard, lambda: len(heard) == 2) == [Subscribed(), Carried(P, ME, None, "again")]


async def test_who_stops_listening_leaves_no_subscription(store: Store) -> None:
    async with heard_by(bus(store)):
        assert dict(await store.redis.pubsub_numsub(KEYS.channel(A), KEYS.channel("all"))) == {
            KEYS.channel(A).encode(): 1,
            KEYS.channel("all").encode(): 1,
        }

    async def nobody_listens() -> bool:
        return not await store.redis.pubsub_channels()

    await until(nobody_listens, "it is gone")


@pytest.mark.parametrize("moments", range(0, 30, 3))
async def test_who_stops_while_it_connects_anew_stops(store: Store, moments: int) -> None:
    heard: list[Message] = []

    async def listen() -> None:
        async for message in bus(store).messages():
            heard.append(message)  # noqa: PERF401 - seen as it grows

    task = asyncio.create_task(listen())
    await until(lambda: heard, "it listens")
    await store.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    for _ in range(moments):
        await asyncio.sleep(0)
    task.cancel()
    assert await asyncio.wait([task], timeout=5) == ({task}, set())


async def test_without_a_state_it_says_so() -> None:
    async with opened(nobody().replace("http", "redis")) as away:
        for asked in (
            bus(away).log([(P, "{}")]),
            bus(away).since(P, ""),
            bus(away).send(A, [Carried(P, ME, None, "")]),
            bus(away).announce(Interest(A, frozenset())),
            anext(bus(away).messages()),
        ):
            with pytest.raises(StoreUnavailable):
                await asked
