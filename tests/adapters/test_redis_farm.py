from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from gateway.domain.ids import PromptId, WorkerName
from gateway.domain.ports import WorkerEntry
from gateway.domain.workers import Down, HalfOpen, Liveness, Suspect, Unknown, Up, Worker
from tests.adapters.stores import DONE, KEYS, ROOM, Store, admit, attempt, new, opened
from tests.servers import until

pytestmark = pytest.mark.anyio

W, V = WorkerName("w"), WorkerName("v")
SEEN = Worker(
    W,
    "http://w",
    liveness=Up(),
    remaining=3,
    foreign=2,
    vram_total=24 * 2**30,
    vram_free=2**33,
    catalogue_digest="abc",
    stats={"system": {"os": "\u00fc"}, "devices": [{"vram_free": 2**40, "x": None}]},
    away_since=12.25,
    error="say \u00e9",
    sid="s-1",
)


@pytest.fixture
async def store(state: str) -> AsyncIterator[Store]:
    async with opened(state, twice=True) as store:
        yield store


@pytest.fixture
async def other(state: str) -> AsyncIterator[Store]:
    async with opened(state, replica="r2", twice=True) as store:
        yield store


async def test_a_worker_is_known_to_all_before_it_was_seen(store: Store, other: Store) -> None:
    assert await store.farm.workers() == {}
    entry = WorkerEntry(W, "http://w", draining=True, configured=True, leaving=True)
    assert await store.farm.put(entry)
    known = Worker(W, "http://w", draining=True, configured=True, leaving=True)
    assert await other.farm.workers() == {W: known}
    assert (await other.feed.since(0)).workers == {"w"}


@pytest.mark.parametrize("liveness", [Unknown(), Up(), Suspect(2), Down(1700000000.125), HalfOpen()])
async def test_what_one_replica_sees_all_see(store: Store, other: Store, liveness: Liveness) -> None:
    await store.farm.put(WorkerEntry(W, "http://w"))
    version = (await other.feed.since(0)).version
    seen = replace(SEEN, liveness=liveness)
    await store.farm.publish(seen)
    assert await other.farm.workers() == {W: seen}
    assert await other.farm.some({W, WorkerName("gone")}) == ({W: seen}, W)
    assert (await other.feed.since(version)).workers == {"w"}
    assert 86000 < await store.redis.ttl(KEYS.seen(W)) <= 86400


async def test_what_its_owner_says_of_it_is_not_what_was_seen(store: Store) -> None:
    await store.farm.put(WorkerEntry(W, "http://w"))
    await store.farm.publish(replace(SEEN, draining=True, url="http://elsewhere"))
    assert await store.farm.workers() == {W: SEEN}
    await store.farm.put(WorkerEntry(W, "http://w", draining=True))
    assert await store.farm.workers() == {W: replace(SEEN, draining=True)}
    await store.farm.put(WorkerEntry(W, "http://new"))
    assert await store.farm.workers() == {W: Worker(W, "http://new")}, "what was seen was another"


async def test_a_new_one_takes_no_name_that_is_taken(state: str) -> None:
    async with opened(state) as store:
        assert await store.farm.put(WorkerEntry(W, "http://w"), new=True)
        assert not await store.farm.put(WorkerEntry(W, "http://other"), new=True)
        assert (await store.farm.workers())[W].url == "http://w"


async def test_a_worker_that_is_gone_comes_not_back_by_being_seen(store: Store) -> None:
    await store.farm.put(WorkerEntry(W, "http://w"))
    await store.farm.publish(SEEN)
    assert await store.farm.remove(V) == "unknown"
    await store.jobs.accept(new("p"), ROOM)
    tried = attempt("p", "w")
    await admit(store, tried.worker)
    await store.jobs.claim(tried, "{}")
    assert await store.farm.remove(W) == "busy"
    await store.jobs.finish(PromptId("p"), tried, DONE)
    assert await store.farm.remove(W) == "ok"
    await store.farm.publish(SEEN)
    assert await store.farm.workers() == {}
    assert not await store.redis.exists(KEYS.seen(W))


async def test_there_is_a_home_as_long_as_there_is_a_worker(store: Store) -> None:
    assert await store.farm.home() is None
    for name in (W, V, WorkerName("x")):
        await store.farm.put(WorkerEntry(name, f"http://{name}"))
    assert await store.farm.home() == "w"
    await store.farm.set_home(V)
    assert await store.farm.home() == "v"
    await store.farm.remove(WorkerName("x"))
    assert await store.farm.home() == "v"
    await store.farm.remove(V)
    assert await store.farm.home() == "w"
    await store.farm.remove(W)
    assert await store.farm.home() is None


async def test_workers_come_in_the_order_of_their_names(store: Store) -> None:
    for number in (3, 1, 0, 4, 2):
        await store.farm.put(
            WorkerEntry(WorkerName(f"gpu-{number}"), f"http://worker-{number}.example:8188/some/where")
        )
    assert list(await store.farm.workers()) == [f"gpu-{number}" for number in range(5)]


async def test_catalogues_are_shared_by_their_digest(store: Store) -> None:
    raw = b'{"KSampler": {}}' * 1000
    assert await store.farm.catalogue("abc") is None
    await store.farm.save_catalogue("abc", raw)
    assert await store.farm.catalogue("abc") == raw
    assert await store.redis.strlen(KEYS.catalogue("abc")) < len(raw) / 10
    await store.redis.expire(KEYS.catalogue("abc"), 5)
    await store.farm.save_catalogue("abc", raw)
    assert await store.redis.ttl(KEYS.catalogue("abc")) > 80000, "it lives on while somebody reads it from a worker"


async def test_a_lease_is_held_by_one_replica_at_a_time(store: Store, other: Store) -> None:
    assert await store.farm.lease(["w", "v"]) == {"w", "v"}
    assert await other.farm.lease(["w", "x"]) == {"x"}
    assert await store.farm.lease(["w", "x"]) == {"w"}
    assert await store.farm.lease([]) == set()
    assert await other.farm.alive("r1")
    await store.farm.release(["w", "x"])
    assert not await other.farm.alive("r1")
    assert await other.farm.lease(["w", "v", "x"]) == {"w", "x"}, "v was not given back"


async def test_a_replica_that_dies_leaves_what_it_held(state: str) -> None:
    """Without `twice`: a lease that runs out between two runs of one operation is a change by the clock alone."""
    async with opened(state, lease_ttl=0.05) as dying, opened(state, replica="r2") as other:
        assert await dying.farm.lease(["w"]) == {"w"}
        await until(lambda: free(other), "the lease runs out")
        assert not await other.farm.alive("r1")
        assert await dying.farm.lease(["w"]) == set()


async def free(store: Store) -> bool:
    return await store.farm.lease(["w"]) == {"w"}
