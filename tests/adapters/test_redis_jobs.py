from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from gateway.domain.callers import Caller
from gateway.domain.files import OutputFile
from gateway.domain.ids import AttemptId, ClientId, PromptId, WorkerName
from gateway.domain.jobs import Accepted, Assigned, Attempt, Ended, Outcome, Queued, Running
from gateway.domain.ports import (
    CallerFull,
    Conflict,
    FarmFull,
    Interruption,
    Known,
    Limits,
    New,
    NewPrompt,
    SameAgain,
    SlotLost,
    Taken,
    Won,
    WorkerEntry,
)
from tests.adapters.stores import DEMAND, DONE, KEYS, ROOM, Store, admit, attempt, new, opened
from tests.domain.facts import names

pytestmark = pytest.mark.anyio

P, Q, W = PromptId("p"), PromptId("q"), WorkerName("w")


@pytest.fixture
async def store(state: str) -> AsyncIterator[Store]:
    async with opened(state, twice=True) as store:
        await admit(store, "w", "v", "big")
        yield store


async def assigned(store: Store, id: str = "p", worker: str = "w") -> Attempt:
    await store.jobs.accept(new(id), ROOM)
    tried = attempt(id, worker)
    assert isinstance(await store.jobs.claim(tried, "{}"), Won)
    return tried


async def test_a_prompt_is_taken_in_and_kept_as_it_came(store: Store) -> None:
    prompt = new(secrets={"api_key_comfy_org": "sk"}, node_errors=b'{"1": {}}', refused_by=names("x"))
    taken = await store.jobs.accept(prompt, ROOM)
    job = await store.job(P)
    assert job is not None
    assert (job.state, job.number, job.seq, job.caller) == (Queued(), "0", taken.seq, "me")
    assert (job.demand, job.tail, job.refused_by, job.hard) == (DEMAND, prompt.tail, names("x"), False)
    assert (job.attempts, job.crashes, job.ooms, job.interrupting) == (0, 0, 0, False)
    assert await store.jobs.body(P) == (prompt.body, {"api_key_comfy_org": "sk"})
    assert await store.jobs.known(P) == Known("0", b'{"1": {}}', False)


@pytest.mark.parametrize(
    ("number", "told", "hard"), [("auto", "2", False), ("front", "-2", True), ("2.5", "2.5", True)]
)
async def test_numbers_are_counted_as_comfyui_counts_them(store: Store, number: str, told: str, hard: bool) -> None:
    """The first is 0, in front or not; one that is given leaves the count alone."""
    assert (await store.jobs.accept(new("a", number="front"), ROOM)).number == "0"
    assert (await store.jobs.accept(new("b", number="-7"), ROOM)).number == "-7"
    assert (await store.jobs.accept(new("c"), ROOM)).number == "1"
    assert (await store.jobs.accept(new("p", number=number), ROOM)).number == told
    job = await store.job(P)
    assert job is not None
    assert job.hard is hard


SMALL = Limits(max_queue=2, max_queue_bytes=10**9, max_queue_per_caller=1)


@pytest.mark.parametrize(
    ("prompt", "limits", "refusal"),
    [
        (new("q", client="me"), SMALL, CallerFull),
        (new("q", client="you"), replace(SMALL, max_queue=1), FarmFull),
        (new("q", client="you"), replace(SMALL, max_queue_bytes=1), FarmFull),
        (new("q", client="me"), replace(SMALL, max_queue=1, max_queue_bytes=1), CallerFull),
        (new("q", client=None), SMALL, None),
    ],
)
async def test_limits_count_what_waits(
    store: Store, prompt: NewPrompt, limits: Limits, refusal: type[Taken] | None
) -> None:
    await store.jobs.accept(new("p"), ROOM)
    if refusal is None:
        await store.jobs.accept(prompt, limits)
        return
    with pytest.raises(refusal):
        await store.jobs.accept(prompt, limits)
    assert await store.kind(Q) == ""
    assert isinstance(await store.jobs.claim(attempt("p"), "{}"), Won)
    await store.jobs.accept(prompt, replace(limits, max_queue_bytes=10**6))


async def test_an_id_is_the_same_prompt_or_a_conflict_for_as_long_as_it_is_known(store: Store) -> None:
    tried = await assigned(store)
    for kind in ("Assigned", "Running", "Ended"):
        assert await store.kind(P) == kind
        with pytest.raises(SameAgain):
            await store.jobs.accept(new(), ROOM)
        with pytest.raises(Conflict):
            await store.jobs.accept(new(digest="other"), ROOM)
        with pytest.raises(SameAgain):
            await store.jobs.accept_on(new(), attempt("p", "v"), await store.waits())
        await (store.jobs.started(tried) if kind == "Assigned" else store.jobs.finish(P, tried, DONE))
    assert await store.jobs.forget(P)
    await store.jobs.accept(new(digest="other"), ROOM)


@pytest.mark.parametrize("digest", ["d", "other"])
async def test_a_cancelled_id_can_be_used_again(store: Store, digest: str) -> None:
    await store.jobs.accept(new(secrets={"api_key_comfy_org": "sk"}), ROOM)
    assert await store.jobs.cancel(P)
    job = await store.job(P)
    assert job is not None
    assert isinstance(job.state, Ended)
    assert (job.state.outcome, job.state.place, job.tail) == (Outcome.CANCELLED, 0, b"")
    assert await store.feed.all_ids() == []
    assert await store.redis.ttl(KEYS.job(P)) > 0
    again = await store.jobs.accept(new(digest=digest), ROOM)
    assert again.number == "1"
    assert await store.kind(P) == "Queued"
    assert await store.redis.ttl(KEYS.job(P)) == -1
    assert await store.jobs.body(P) == (new().body, {}), "the secrets of the first are gone"


async def test_a_free_slot_is_taken_unseen(store: Store) -> None:
    tried = attempt("p")
    taken = await store.jobs.accept_on(new(), tried, await store.waits())
    job = await store.job(P)
    assert isinstance(taken, New)
    assert job is not None
    assert (job.state, job.attempts) == (Accepted(W, tried.id, "r1"), 1)
    assert await store.jobs.known(P) == Known("0", b"{}", True)
    assert await store.jobs.interrupt(P) is None
    assert not await store.jobs.cancel(P)
    with pytest.raises(SlotLost):
        await store.jobs.accept_on(new("q"), attempt("q"), await store.waits())
    await store.jobs.drop(tried, haunts=False)
    assert await store.job(P) is None
    assert await store.feed.all_ids() == []
    await store.jobs.accept_on(new("q"), attempt("q"), await store.waits())


async def test_a_slot_is_lost_to_a_prompt_that_began_to_wait(store: Store) -> None:
    seen = await store.waits()
    await store.jobs.accept(new("p"), ROOM)
    with pytest.raises(SlotLost):
        await store.jobs.accept_on(new("q"), attempt("q"), seen)
    assert await store.kind(Q) == ""
    now = await store.waits()
    assert await store.jobs.cancel(P)
    await store.jobs.accept_on(new("q"), attempt("q"), now)


async def test_exactly_one_wins_a_prompt_and_a_worker(store: Store) -> None:
    await store.jobs.accept(new("p", secrets={"api_key_comfy_org": "sk"}), ROOM)
    await store.jobs.accept(new("q"), ROOM)
    won = await store.jobs.claim(attempt("p", "w"), '{"v": "busy"}')
    assert won == Won(new("p").body, {"api_key_comfy_org": "sk"}, 1)
    assert await store.jobs.claim(attempt("p", "v"), "{}") == "gone"
    assert await store.jobs.claim(attempt("q", "w"), "{}") == "busy"
    assert await store.jobs.claim(attempt("unknown", "v"), "{}") == "gone"
    job = await store.job(P)
    assert job is not None
    assert isinstance(job.state, Assigned)
    assert (job.state.posted, job.state.owner, job.reasons) == (False, "r1", '{"v": "busy"}')


async def test_from_the_answer_of_its_worker_on_a_prompt_is_seen(store: Store) -> None:
    tried = attempt("p")
    await store.jobs.accept_on(new(), tried, await store.waits())
    assert await store.jobs.posted(tried, tried.id, {"tail": b', "x"]', "node_errors": b'{"2": {}}'}) == "ok"
    job = await store.job(P)
    assert job is not None
    assert isinstance(job.state, Assigned)
    assert job.state.posted
    assert job.tail == b', "x"]'
    assert await store.jobs.known(P) == Known("0", b'{"2": {}}', False)
    assert await store.jobs.started(tried)
    assert not await store.jobs.started(tried)
    assert await store.kind(P) == "Running"
    assert await store.jobs.posted(tried, tried.id, {}) == "ok", "the socket was faster than the answer"
    assert await store.kind(P) == "Running"


async def test_an_id_that_the_worker_minted_is_the_attempts_from_then_on(store: Store) -> None:
    tried = await assigned(store)
    given = replace(tried, id=AttemptId("minted"))
    assert await store.jobs.posted(tried, given.id, {}) == "ok"
    assert not await store.jobs.started(tried)
    assert await store.jobs.started(given)
    job = await store.job(P)
    assert job is not None
    assert job.state == Running(W, given.id, job.state.since if isinstance(job.state, Running) else 0.0)
    assert await store.redis.hgetall(KEYS.held(W)) == {b"minted": b"p"}
    assert await store.jobs.finish(P, given, DONE)
    assert not await store.redis.exists(KEYS.held(W))


async def test_what_is_over_on_its_worker_holds_no_slot_and_keeps_the_worker(store: Store) -> None:
    ending = await assigned(store)
    assert await store.jobs.over(ending)
    await store.jobs.accept(new("next"), ROOM)
    assert isinstance(await store.jobs.claim(attempt("next"), "{}"), Won)
    assert not await store.jobs.over(attempt("next", W, "another"))
    assert await store.farm.remove(W) == "busy"
    assert await store.jobs.interrupt(P) is None, "it cannot be stopped any more"
    job = await store.job(P)
    assert job is not None
    assert job.over
    assert await store.jobs.finish(P, ending, DONE)
    assert await store.redis.hvals(KEYS.held(W)) == [b"next"]


async def test_what_is_being_interrupted_keeps_its_slot(store: Store) -> None:
    tried = await assigned(store)
    await store.jobs.interrupt(P)
    assert not await store.jobs.over(tried)


async def test_an_interruption_reaches_who_posts(store: Store) -> None:
    assert await store.jobs.interrupt(P) is None
    tried = await assigned(store)
    assert await store.jobs.interrupt(P) == Interruption(tried, posted=False)
    assert await store.jobs.posted(tried, tried.id, {}) == "interrupt"
    assert await store.jobs.interrupt(P) == Interruption(tried, posted=True)
    job = await store.job(P)
    assert job is not None
    assert job.interrupting
    assert await store.jobs.finish(P, tried, DONE)
    assert await store.jobs.interrupt(P) is None
    job = await store.job(P)
    assert job is not None
    assert not job.interrupting


async def test_who_is_to_be_interrupted_does_not_wait_again(store: Store) -> None:
    tried = await assigned(store)
    await store.jobs.interrupt(P)
    before = await store.job(P)
    assert await store.jobs.requeue(tried, haunts=True, crashed=True) == "interrupting"
    assert await store.job(P) == before
    assert await store.jobs.buried(W) == set()


async def test_an_attempt_that_was_given_up_changes_nothing_any_more(store: Store) -> None:
    late = await assigned(store)
    assert await store.jobs.requeue(late, haunts=True, crashed=True) == 1
    for now in ("Queued", "Assigned", "Ended"):
        assert await store.kind(P) == now
        before = await store.job(P)
        assert await store.jobs.posted(late, late.id, {"tail": b"late"}) == "gone"
        assert not await store.jobs.started(late)
        assert await store.jobs.requeue(late, haunts=False, crashed=True) is None
        assert not await store.jobs.finish(P, late, DONE)
        await store.jobs.drop(late, haunts=False)
        assert await store.job(P) == before
        if now == "Queued":
            current = attempt("p", "v")
            assert await store.jobs.claim(current, "{}") == Won(new().body, {}, 2)
        elif now == "Assigned":
            assert not await store.jobs.finish(P, None, DONE)
            assert await store.jobs.finish(P, current, DONE)
    assert await store.jobs.buried(W) == {late.id}
    await store.jobs.bury(W, AttemptId("more"))
    await store.jobs.unbury(W, [late.id])
    await store.jobs.unbury(W, [])
    assert await store.jobs.buried(W) == {"more"}


async def test_who_waits_again_has_its_old_turn_and_fewer_places_to_go(store: Store) -> None:
    tried = await assigned(store)
    await store.jobs.accept(new("q"), ROOM)
    before = await store.job(P)
    assert await store.jobs.requeue(tried, haunts=False, crashed=False, min_vram=5, refused_by=names("w", "v")) == 0
    job = await store.job(P)
    assert before is not None
    assert job is not None
    assert (job.seq, job.number, job.created_at, job.attempts) == (before.seq, before.number, before.created_at, 1)
    assert (job.ooms, job.demand, job.refused_by) == (1, replace(DEMAND, min_vram=5), names("v", "w"))
    assert await store.redis.zrange(KEYS.waiting, 0, -1) == [b"p", b"q"]
    again = attempt("p", "big")
    assert isinstance(await store.jobs.claim(again, "{}"), Won)
    assert await store.jobs.requeue(again, haunts=False, crashed=True) == 1
    job = await store.job(P)
    assert job is not None
    assert (job.demand.min_vram, job.refused_by, job.crashes) == (5, names("v", "w"), 1)


async def test_an_end_is_one_step(store: Store) -> None:
    await store.jobs.accept(new(secrets={"api_key_comfy_org": "sk"}), ROOM)
    tried = attempt("p")
    await store.jobs.claim(tried, "{}")
    assert await store.jobs.finish(P, tried, DONE)
    job = await store.job(P)
    assert job is not None
    assert isinstance(job.state, Ended)
    assert (job.state.outcome, job.state.worker, job.state.summary) == (Outcome.SUCCEEDED, "w", DONE.summary)
    assert await store.jobs.records([P, Q]) == [DONE.record, None]
    assert await store.jobs.records([]) == []
    assert await store.jobs.body(P) is None
    assert not await store.redis.exists(KEYS.secret(P), KEYS.held(W))
    for key in (KEYS.job(P), KEYS.record(P)):
        assert 3590 < await store.redis.ttl(key) <= 3600
    assert await store.jobs.forget(P)
    assert not await store.jobs.forget(P)
    assert await store.job(P) is None
    assert await store.jobs.records([P]) == [None]


async def test_a_prompt_that_waits_can_end_too(store: Store) -> None:
    await store.jobs.accept(new(), ROOM)
    assert not await store.jobs.finish(P, attempt("p"), DONE)
    assert await store.jobs.finish(P, None, DONE)
    assert not await store.jobs.finish(P, None, DONE)
    assert not await store.jobs.cancel(P)
    assert await store.redis.hgetall(KEYS.load) == {b"bytes": b"0"}


async def test_the_oldest_records_make_room(state: str) -> None:
    async with opened(state, history_max=2, twice=True) as store:
        await admit(store, "w")
        for id in "abcd":
            await store.jobs.accept(new(id), ROOM)
            version = (await store.feed.since(0)).version
            assert await store.jobs.finish(PromptId(id), None, DONE)
        assert (await store.feed.since(version)).prompts == {"d", "b"}, "that it is gone is told as well"
        assert await store.feed.all_ids() == ["c", "d"]
        assert await store.jobs.records([PromptId(id) for id in "abcd"]) == [None, None, DONE.record, DONE.record]
        await store.jobs.accept(new("a", digest="other"), ROOM)


async def test_records_that_outlived_their_time_are_told(store: Store) -> None:
    for id in "ab":
        await store.jobs.accept(new(id), ROOM)
        await store.jobs.finish(PromptId(id), None, DONE)
    assert await store.jobs.expired() == []
    await store.redis.delete(KEYS.record(PromptId("a")))
    assert await store.jobs.expired() == ["a"]
    assert await store.jobs.forget(PromptId("a"))
    assert await store.jobs.expired() == []
    assert await store.job(PromptId("a")) is None


async def test_a_child_is_taken_in_where_it_is(store: Store) -> None:
    tried = await assigned(store)
    assert await store.jobs.adopt(new("child"), W)
    assert not await store.jobs.adopt(new("child"), W)
    job = await store.job(PromptId("child"))
    assert job is not None
    assert isinstance(job.state, Assigned)
    assert (job.state.worker, job.state.attempt, job.state.posted, job.number) == ("w", "child", True, "1")
    await store.jobs.finish(P, tried, DONE)
    await store.jobs.accept(new("q"), ROOM)
    assert await store.jobs.claim(attempt("q"), "{}") == "busy", "nothing else goes there"
    own = attempt("child", "w", "child")
    assert await store.jobs.started(own)
    assert await store.jobs.finish(PromptId("child"), own, DONE)
    assert isinstance(await store.jobs.claim(attempt("q"), "{}"), Won)


async def test_whose_file_it_is(store: Store) -> None:
    one, two = OutputFile("output", "", "a.png"), OutputFile("temp", "sub:x", "a.png")
    me, other, nobody = Caller(ClientId("me"), "1.1.1.1"), Caller(ClientId("other"), "2.2.2.2"), Caller(None, "3.3.3.3")
    await store.jobs.note_files(me, {one: "a~w.png", two: "a~w.png"})
    await store.jobs.note_files(me, {two: "a~v.png"})
    await store.jobs.note_files(other, {one: "a~v.png"})
    await store.jobs.note_files(nobody, {one: "\udcff~v.png"})
    noted = store.jobs.noted
    assert await noted(me, one) == "a~w.png"
    assert await noted(me, two) == "a~v.png", "the newest counts"
    assert await noted(other, one) == "a~v.png"
    assert await noted(other, two) is None, "another caller's is nobody else's"
    assert await noted(nobody, one) == "\udcff~v.png"
    assert await noted(Caller(None, "1.1.1.1"), one) == "a~w.png", "who gives no client_id is its address"
    assert await noted(Caller(ClientId("third"), "1.1.1.1"), one) is None, "and who gives one is that"
    assert await noted(me, OutputFile("output", "", "b.png")) is None


async def test_a_name_that_several_clients_of_an_address_have_is_none_of_the_addresss(store: Store) -> None:
    file, here = OutputFile("output", "", "a.png"), Caller(None, "1.1.1.1")
    await store.jobs.note_files(Caller(ClientId("a"), "1.1.1.1"), {file: "a~w.png"})
    await store.jobs.note_files(Caller(ClientId("a"), "1.1.1.1"), {file: "a~v.png"})
    assert await store.jobs.noted(here, file) == "a~v.png"
    await store.jobs.note_files(Caller(ClientId("b"), "1.1.1.1"), {file: "a~u.png"})
    assert await store.jobs.noted(here, file) is None
    assert await store.jobs.noted(Caller(ClientId("a"), ""), file) == "a~v.png"
    await store.jobs.note_files(Caller(ClientId("b"), "1.1.1.1"), {file: "a~w.png"})
    assert await store.jobs.noted(here, file) is None


async def test_the_newest_files_at_the_top_of_a_folder(store: Store) -> None:
    me = Caller(ClientId("me"), "")
    many = {OutputFile("output", "", f"{n}.png"): f"{n}~w.png" for n in range(600)}
    await store.jobs.note_files(me, many)
    await store.jobs.note_files(me, {OutputFile("output", "sub", "x.png"): "x~w.png"})
    await store.jobs.note_files(me, {OutputFile("temp", "", "t.png"): "t~w.png"})
    await store.jobs.note_files(me, {OutputFile("output", "", "new.png"): "new~w.png"})
    newest = await store.jobs.newest("output", 1000)
    assert newest.keys() == {*many.values(), "new~w.png"}
    assert max(newest, key=lambda name: newest[name]) == "new~w.png"
    assert [*await store.jobs.newest("temp", 5)] == ["t~w.png"]
    assert [*await store.jobs.newest("output", 1)] == ["new~w.png"]


@pytest.mark.parametrize("why", ["it left", "it drains"])
async def test_a_worker_that_is_closed_takes_nothing(store: Store, why: str) -> None:
    await store.farm.put(WorkerEntry(W, "http://w", draining=True))
    if why == "it left":
        assert await store.farm.remove(W) == "ok"
    await store.jobs.accept(new("p"), ROOM)
    assert await store.jobs.claim(attempt("p"), "{}") == "busy"
    with pytest.raises(SlotLost):
        await store.jobs.accept_on(new("q"), attempt("q"), await store.waits())
    assert await store.kind(P) == "Queued"
