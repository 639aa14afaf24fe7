from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.domain.ids import PromptId, WorkerName
from gateway.domain.ports import Changes, WorkerEntry
from tests.adapters.stores import DONE, KEYS, ROOM, Store, admit, attempt, new, opened

pytestmark = pytest.mark.anyio

P = PromptId("p")


@pytest.fixture
async def store(state: str) -> AsyncIterator[Store]:
    async with opened(state) as store:
        yield store


async def test_nothing_happened_yet(store: Store) -> None:
    assert await store.feed.since(0) == Changes(0, "0", False, frozenset(), frozenset())
    assert (await store.feed.since(-1)).everything
    assert await store.feed.all_ids() == []
    assert await store.feed.jobs([]) == {}
    assert await store.feed.jobs([P]) == {P: None}


async def test_changes_are_of_prompts_and_of_workers(store: Store) -> None:
    await store.jobs.accept(new("p"), ROOM)
    await store.farm.put(WorkerEntry(WorkerName("w"), "http://w"))
    await store.jobs.accept(new('j "q" \u00e9'), ROOM)
    everything = await store.feed.since(0)
    assert everything == Changes(3, "2", False, frozenset({P, PromptId('j "q" \u00e9')}), frozenset({WorkerName("w")}))
    assert await store.feed.since(1) == Changes(
        3, "2", False, frozenset({PromptId('j "q" \u00e9')}), frozenset({WorkerName("w")})
    )
    assert await store.feed.since(3) == Changes(3, "2", False, frozenset(), frozenset())


async def test_the_news_brings_the_first_hundred_prompts_along(store: Store) -> None:
    for number in range(101):
        await store.jobs.accept(new(f"p{number}"), ROOM)
    await store.redis.delete(KEYS.job(gone := PromptId("p7")))
    changes = await store.feed.since(0)
    assert len(changes.prompts) == 101
    assert changes.prompts - changes.jobs.keys() == {"p100"}
    assert changes.jobs[gone] is None, "it is gone meanwhile"
    assert {id: job for id, job in changes.jobs.items() if job} == {
        id: job for id, job in (await store.feed.jobs(list(changes.jobs))).items() if job
    }


async def test_a_replica_that_lags_too_far_reads_everything(store: Store) -> None:
    for number in range(5):
        await store.jobs.accept(new(f"p{number}"), ROOM)
    await store.redis.xtrim(KEYS.changes, maxlen=2, approximate=False)
    assert (await store.feed.since(2)).everything
    assert (await store.feed.since(0)).everything
    assert (await store.feed.since(3)).prompts == {"p3", "p4"}
    assert (await store.feed.since(99)).everything, "ahead of a store that began anew"


async def test_what_is_read_in_parts_is_read_in_full(store: Store) -> None:
    """More than one answer holds: each says how far it goes."""
    for number in range(2100):
        await store.redis.xadd(KEYS.changes, {"j": f"p{number}"}, id=f"{number + 1}-0")
    await store.redis.set(KEYS.version, 2100)
    first = await store.feed.since(0)
    assert (first.version, len(first.prompts), first.everything) == (2000, 2000, False)
    rest = await store.feed.since(first.version)
    assert (rest.version, len(rest.prompts)) == (2100, 100)
    assert first.prompts.isdisjoint(rest.prompts)


async def test_who_waits_is_told_at_once(store: Store) -> None:
    version = (await store.feed.since(0)).version
    waiting = asyncio.create_task(store.feed.wait(version, 30.0))
    await asyncio.sleep(0)
    await store.jobs.accept(new("p"), ROOM)
    async with asyncio.timeout(5):
        await waiting
        await store.feed.wait(version, 30.0)  # it has happened already


async def test_who_waits_in_vain_is_let_go(store: Store) -> None:
    await store.jobs.accept(new("p"), ROOM)
    async with asyncio.timeout(5):
        await store.feed.wait(1, 0.02)
        await store.feed.wait(1, 0.0)


async def test_many_prompts_share_one_demand(store: Store) -> None:
    ids = [PromptId(f"p{number}") for number in range(600)]
    for id in ids:
        await store.jobs.accept(new(id), ROOM)
    jobs = await store.feed.jobs(ids)
    assert list(jobs) == ids
    first = jobs[ids[0]]
    assert first is not None
    assert all(job is not None and job.demand is first.demand for job in jobs.values())


async def test_all_that_is_kept_is_listed_once_the_ended_ones_first(store: Store) -> None:
    for id in "abcde":
        await store.jobs.accept(new(id), ROOM)
    await store.jobs.cancel(PromptId("b"))
    await store.jobs.finish(PromptId("c"), None, DONE)
    await admit(store, attempt("d").worker)
    await store.jobs.claim(attempt("d"), "{}")
    assert await store.feed.all_ids() == ["c", "a", "d", "e"]


async def test_a_hash_that_is_no_prompt_is_none(store: Store) -> None:
    """As one that ended and was trimmed while it was read."""
    await store.redis.hset(KEYS.job(P), mapping={"state": "succeeded", "client": "c"})
    await store.redis.expire(KEYS.job(P), 9)
    assert await store.job(P) is None
    await store.redis.hdel(KEYS.job(P), "state")
    assert await store.job(P) is None


async def test_the_version_is_known_whatever_became_of_the_connection_that_asks(store: Store) -> None:
    assert await store.feed.version() == 0
    await store.jobs.accept(new("p"), ROOM)
    assert await store.feed.version() == 1
    await store.redis.client_kill_filter(_type="normal", skipme=True)
    await store.jobs.accept(new("q"), ROOM)
    assert await store.feed.version() == 2


async def test_a_question_that_was_given_up_leaves_no_answer_for_the_next(store: Store) -> None:
    for number in range(20):
        asked = asyncio.create_task(store.feed.version())
        await asyncio.sleep(0)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        await store.jobs.accept(new(f"p{number}"), ROOM)
        assert await store.feed.version() == number + 1
