"""A replica's copy of the state is never older than the last `fresh`."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from gateway.adapters.redis_keys import Keys
from gateway.domain.ids import AttemptId, ClientId, PromptId, WorkerName
from gateway.domain.jobs import Ended, Outcome, Queued
from gateway.domain.ports import WorkerEntry
from gateway.domain.workers import Down, Up
from gateway.flows import mirror as mirrors
from gateway.flows.mirror import News, by_number, until
from tests import servers
from tests.adapters.stores import DONE, KEYS, ROOM, admit, attempt, new
from tests.domain.facts import job
from tests.flows.replica import Replica, replica
from tests.scripted import shipped_nodes

pytestmark = pytest.mark.anyio

W = WorkerName("w")


async def ended(at: Replica, id: str, worker: str = "w") -> None:
    tried = attempt(id, worker)
    await at.store.jobs.accept(new(id), ROOM)
    await admit(at.store, tried.worker)
    await at.store.jobs.claim(tried, "{}")
    await at.store.jobs.posted(tried, tried.id, {})
    assert await at.store.jobs.finish(PromptId(id), tried, DONE)


async def test_what_another_replica_wrote_before_is_seen(state: str) -> None:
    async with replica(state) as here, replica(state, "r2") as there:
        await here.mirror.fresh()
        for number in range(20):
            await there.store.jobs.accept(new(f"p{number}"), ROOM)
            await here.mirror.fresh()
            assert len(here.mirror.live) == number + 1
        assert here.mirror.waits == "20"
        assert len(here.placement) == 20


async def test_requests_of_one_moment_share_one_look(state: str) -> None:
    async with replica(state) as here:
        await here.mirror.fresh()
        calls = 0
        version = here.store.feed.version

        async def counted() -> int:
            nonlocal calls
            calls += 1
            return await version()

        here.mirror._feed.version = counted  # type: ignore[method-assign]
        await asyncio.gather(*(here.mirror.fresh() for _ in range(100)))
        assert calls == 1


async def test_one_that_begins_late_knows_what_was_before(state: str) -> None:
    async with replica(state) as first, replica(state, "r2") as late:
        await first.store.farm.put(WorkerEntry(W, "http://w:1"))
        for id in ("b", "a", "c"):
            await ended(first, id)
        await first.store.jobs.accept(new("waits"), ROOM)
        await late.mirror.fresh()
        assert late.mirror.history == ["b", "a", "c"]
        assert set(late.mirror.live) == {"waits"}
        assert set(late.mirror.workers) == {"w"}
        assert late.mirror.home == "w"


async def test_one_that_lags_too_far_reads_everything_anew(state: str) -> None:
    async with replica(state) as here, replica(state, "r2") as there:
        await there.store.jobs.accept(new("old"), ROOM)
        await ended(there, "gone")
        await here.mirror.fresh()
        await there.store.jobs.cancel(PromptId("old"))
        await there.store.jobs.forget(PromptId("gone"))
        await there.store.jobs.accept(new("newer"), ROOM)
        await here.store.redis.xtrim(KEYS.changes, maxlen=1)
        await here.mirror.fresh()
        assert set(here.mirror.live) == {"newer"}
        assert here.mirror.history == []
        assert len(here.placement) == 1


async def test_what_its_owner_said_of_a_worker_is_not_undone_by_an_older_look(state: str) -> None:
    async with replica(state) as here:
        await here.store.farm.put(WorkerEntry(W, "http://w:1"))
        await here.mirror.fresh()
        looked_at = here.mirror.workers[W]
        await here.store.farm.put(WorkerEntry(W, "http://w:1", draining=True))
        await here.mirror.fresh()
        here.mirror.believe(replace(looked_at, liveness=Up()))
        assert here.mirror.workers[W].draining
        assert here.mirror.workers[W].liveness == Up()


async def test_more_news_than_one_answer_brings_is_taken_in_all(state: str) -> None:
    async with replica(state) as here, replica(state, "r2") as there:
        await here.mirror.fresh()
        for number in range(130):
            await there.store.jobs.accept(new(f"p{number}"), ROOM)
        await here.mirror.fresh()
        assert len(here.mirror.live) == here.mirror.census.waiting == 130


async def test_a_state_that_lost_everything_is_believed(state: str) -> None:
    async with replica(state) as here:
        await here.store.farm.put(WorkerEntry(W, "http://w:1"))
        await here.store.jobs.accept(new("p"), ROOM)
        await here.mirror.fresh()
        await here.store.redis.flushall()
        await here.mirror.fresh()
        assert (here.mirror.jobs, here.mirror.workers, here.mirror.version) == ({}, {}, 0)


async def test_a_prompt_holds_its_workers_slot_from_claim_to_end(state: str) -> None:
    async with replica(state) as here:
        await here.store.farm.put(WorkerEntry(W, "http://w:1"))
        await here.store.jobs.accept(new("p"), ROOM)
        await here.mirror.fresh()
        assert (here.mirror.on(W), len(here.placement)) == ([], 1)
        tried = attempt("p")
        await admit(here.store, tried.worker)
        await here.store.jobs.claim(tried, "{}")
        await here.mirror.fresh()
        assert [held for _, held in here.mirror.on(W)] == [tried]
        assert len(here.placement) == 0
        minted = AttemptId("minted")
        await here.store.jobs.posted(tried, minted, {})
        await here.mirror.fresh()
        assert [held.id for _, held in here.mirror.on(W)] == [minted]
        await here.store.jobs.finish(PromptId("p"), replace(tried, id=minted), DONE)
        await here.mirror.fresh()
        assert here.mirror.on(W) == []
        assert here.mirror.history == ["p"]


async def test_the_census_is_right_after_each_step(state: str) -> None:
    async with replica(state) as here, replica(state, "r2") as there:
        await admit(there.store, W)
        tried = attempt("p")
        steps = (
            *(there.store.jobs.accept(new(id), ROOM) for id in "pqr"),
            there.store.jobs.claim(tried, "{}"),
            there.store.jobs.posted(tried, tried.id, {}),
            there.store.jobs.started(tried),
            there.store.jobs.cancel(PromptId("q")),
            there.store.jobs.requeue(tried, haunts=False, crashed=True),
            there.store.jobs.claim(again := attempt("p"), "{}"),
            there.store.jobs.posted(again, again.id, {}),
            there.store.jobs.finish(PromptId("p"), again, DONE),
        )
        for step in steps:
            await step
            await here.mirror.fresh()
            seen, live = here.mirror.census, list(here.mirror.live.values())
            queued = [job for job in live if isinstance(job.state, Queued)]
            assert (seen.waiting, seen.bytes) == (len(queued), sum(job.size for job in queued))
            assert seen.waiting + seen.assigned + seen.running == len(live)
            assert seen.seconds(lambda work: 2.0) == 2.0 * len(queued)
        assert (seen.waiting, seen.assigned, seen.running) == (1, 0, 0)


async def test_what_is_not_answered_yet_is_nowhere_to_be_seen(state: str) -> None:
    async with replica(state) as here:
        await here.store.farm.put(WorkerEntry(W, "http://w:1"))
        await here.mirror.fresh()
        tried = attempt("p")
        await here.store.jobs.accept_on(new("p"), tried, here.mirror.waits)
        await here.mirror.fresh()
        assert (set(here.mirror.accepted), here.mirror.live) == ({"p"}, {})
        await here.store.jobs.drop(tried, haunts=False)
        await here.mirror.fresh()
        assert (here.mirror.jobs, here.mirror.accepted) == ({}, {})


async def test_so_many_cancelled_ones_are_remembered(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirrors, "CANCELLED_KEPT", 2)
    async with replica(state) as here:
        for id in "abc":
            await here.store.jobs.accept(new(id), ROOM)
            await here.store.jobs.cancel(PromptId(id))
            await here.mirror.fresh()
        assert list(here.mirror.cancelled) == ["b", "c"]
        assert here.mirror.jobs == {}


async def test_a_client_waits_for_its_own_and_a_stranger_for_all(state: str) -> None:
    me, stranger = ClientId("me"), ClientId("stranger")
    async with replica(state) as here:
        await here.store.jobs.accept(new("a"), ROOM)
        await here.store.jobs.accept(new("b", client="you"), ROOM)
        await here.mirror.fresh()
        assert [here.mirror.remaining(client) for client in (me, stranger, None)] == [1, 2, 2]
        await here.store.jobs.cancel(PromptId("a"))
        await ended(here, "c")
        await here.mirror.fresh()
        assert here.mirror.remaining(me) == 0
        await here.store.jobs.forget(PromptId("c"))
        await here.mirror.fresh()
        assert here.mirror.remaining(me) == 1  # it is a stranger again


async def test_listeners_are_told_what_changed(state: str) -> None:
    told: list[News] = []
    async with replica(state) as here:
        await here.mirror.fresh()
        here.mirror.listen(told.append)
        await here.mirror.fresh()
        assert told == []
        await here.store.farm.put(WorkerEntry(W, "http://w:1"))
        await here.mirror.fresh()
        await here.store.jobs.accept(new("p"), ROOM)
        await here.mirror.fresh()
        await admit(here.store, attempt("p").worker)
        await here.store.jobs.claim(attempt("p"), "{}")
        await here.mirror.fresh()
        assert [news.workers for news in told] == [{"w"}, set(), {"w"}]
        ((before, after),) = told[1].prompts
        assert before is None
        assert after is not None
        assert isinstance(after.state, Queued)


async def test_what_this_replica_found_out_holds_until_the_store_says_otherwise(state: str) -> None:
    async with replica(state) as here:
        await here.store.farm.put(WorkerEntry(W, "http://w:1"))
        await here.mirror.fresh()
        here.mirror.believe(replace(here.mirror.workers[W], liveness=Down(1.0)))
        here.mirror.believe(replace(here.mirror.workers[W], name=WorkerName("nobody")))
        await here.mirror.fresh()
        assert isinstance(here.mirror.workers[W].liveness, Down)
        assert set(here.mirror.workers) == {"w"}
        await here.store.farm.publish(replace(here.mirror.workers[W], liveness=Up()))
        await here.mirror.fresh()
        assert isinstance(here.mirror.workers[W].liveness, Up)


async def test_a_worker_comes_with_its_nodes_and_goes_with_them(state: str) -> None:
    async with replica(state) as here, replica(state, "r2") as there:
        await here.store.farm.put(WorkerEntry(W, "http://w:1"))
        await here.mirror.fresh()
        saved = await here.catalogues.save(json.dumps(shipped_nodes()).encode())
        await here.store.farm.publish(replace(here.mirror.workers[W], catalogue_digest=saved.digest))
        await there.mirror.fresh()
        found = there.mirror.workers[W].catalogue
        assert found is not None
        assert found.classes == shipped_nodes().keys()
        assert "ProbeSleep" in there.catalogues.nodes
        await here.store.farm.remove(W)
        await there.mirror.fresh()
        assert there.mirror.workers == {}
        assert there.catalogues.nodes == {}


async def test_following_brings_what_is_new_without_being_asked(state: str) -> None:
    async with replica(state) as here, replica(state, "r2") as there:
        following = asyncio.create_task(here.mirror.follow(10))
        await here.mirror.fresh()
        await there.store.jobs.accept(new("p"), ROOM)
        await _seen(here)
        following.cancel()


async def test_waiting_for_the_mirror_ends_when_it_is_true_or_too_late(state: str) -> None:
    async with replica(state) as here, replica(state, "r2") as there:
        await here.mirror.fresh()
        assert await until(here.mirror, lambda: True, 0)
        assert not await until(here.mirror, lambda: False, 0)
        waiting = asyncio.create_task(until(here.mirror, lambda: "p" in here.mirror.live, 10))
        await there.store.jobs.accept(new("p"), ROOM)
        assert await waiting


def test_the_order_of_numbers_is_comfyuis() -> None:
    numbers = {"z": "-1", "b": "2", "a": "2", "c": "0.5", "d": "10"}
    jobs = [job(id, number=number) for id, number in numbers.items()]
    assert [one.id for one in by_number(jobs)] == ["z", "c", "a", "b", "d"]


async def test_an_ended_prompt_keeps_its_place(state: str) -> None:
    async with replica(state) as here:
        await ended(here, "p")
        await here.mirror.fresh()
        found = here.mirror.jobs[PromptId("p")].state
        assert isinstance(found, Ended)
        assert (found.outcome, found.worker, found.summary) == (Outcome.SUCCEEDED, "w", DONE.summary)
        assert Keys("test") == KEYS


async def _seen(here: Replica) -> None:
    await servers.until(lambda: "p" in here.mirror.live, "it is seen")
