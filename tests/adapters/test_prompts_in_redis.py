"""Everything that can happen to prompts, in any order and from two replicas, against a model of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pytest
import redis
import uvloop
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from gateway.domain.ids import AttemptId, PromptId, WorkerName
from gateway.domain.jobs import Accepted, Assigned, Attempt, Ended, Job, Outcome, Queued, Running
from gateway.domain.placement.spots import DEPTH
from gateway.domain.ports import (
    CallerFull,
    Conflict,
    Ending,
    FarmFull,
    Interruption,
    Limits,
    New,
    SameAgain,
    SlotLost,
    Taken,
    Won,
)
from tests.adapters.stores import KEYS, admit, attempt, build, contents, new
from tests.servers import leaks

T = TypeVar("T")
LIMITS = Limits(max_queue=3, max_queue_bytes=10**9, max_queue_per_caller=2)
HISTORY_MAX = 2
SECRETS = {"api_key_comfy_org": "sk"}

replicas = st.integers(0, 1)
ids = st.sampled_from(["p", "q", "r", "s"]).map(PromptId)
workers = st.sampled_from(["w", "v"]).map(WorkerName)
picks = st.integers(0, 99)


@dataclass
class Known:
    """A prompt as the model has it; `state` as in the store, `attempt` empty while it is on no worker."""

    id: PromptId
    digest: str
    caller: str
    number: str
    seq: int
    state: str
    secret: bool
    worker: str | None = None
    attempt: str = ""
    attempts: int = 0
    crashes: int = 0
    posted: bool = False
    interrupting: bool = False
    over: bool = False
    min_vram: int = 0
    refused_by: frozenset[WorkerName] = field(default_factory=frozenset)


def facts(job: Job) -> Known:
    """What is read from the store, as the model has it."""
    state = job.state
    name = state.outcome.value if isinstance(state, Ended) else type(state).__name__.lower()
    held = isinstance(state, Accepted | Assigned | Running)
    return Known(
        id=job.id,
        digest="",
        caller=job.caller,
        number=job.number,
        seq=job.seq,
        state=name,
        secret=False,
        worker=None if isinstance(state, Queued) else state.worker,
        attempt=state.attempt if isinstance(state, Accepted | Assigned | Running) else "",
        attempts=job.attempts,
        crashes=job.crashes,
        posted=held and (isinstance(state, Running) or (isinstance(state, Assigned) and state.posted)),
        interrupting=job.interrupting,
        over=job.over,
        min_vram=job.demand.min_vram,
        refused_by=job.refused_by,
    )


LIVE = ("accepted", "queued", "assigned", "running")
HELD = ("accepted", "assigned", "running")


class Prompts(RuleBasedStateMachine):
    url: str

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self.plain = redis.Redis.from_url(self.url)
        self.plain.flushall()
        self.stores = [build(self.url, replica=f"r{n}", history_max=HISTORY_MAX, twice=True) for n in (1, 2)]
        self.runner.run(admit(self.stores[0], "w", "v"))
        self.known: dict[PromptId, Known] = {}
        self.history: list[PromptId] = []
        self.attempts: list[Attempt] = []
        self.buried: dict[str, set[str]] = {}
        self.adopted: set[str] = set()
        self.count = 0
        self.waits = 0
        self.version = 0
        self.seen: dict[PromptId, Job] = {}
        self.followed: list[tuple[int, dict[PromptId, Job]]] = [(0, {}), (0, {})]

    def teardown(self) -> None:
        self.catch_up(0)
        self.catch_up(1)
        assert leaks(self.plain) == []
        self.plain.close()
        for store in self.stores:
            self.wait(store.redis.aclose())
        self.runner.close()

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    # the model

    def on(self, worker: str) -> list[Known]:
        return [job for job in self.known.values() if job.worker == worker and job.state in HELD]

    def slots(self, worker: str) -> int:
        """How many are taken: what is over is on its worker still, but holds none."""
        return sum(1 for job in self.on(worker) if not job.over)

    def waiting(self) -> list[Known]:
        return [job for job in self.known.values() if job.state == "queued"]

    def current(self, tried: Attempt) -> Known | None:
        """The prompt of this attempt, if it is the one that counts."""
        job = self.known.get(tried.prompt)
        return job if job and job.state in HELD and job.attempt == tried.id else None

    def some_attempt(self, pick: int) -> Attempt:
        """One that counts, rather than one that did once."""
        counting = [tried for tried in self.attempts if self.current(tried)]
        found = counting if counting and pick % 3 else self.attempts
        return found[pick % len(found)] if found else attempt("p")

    def is_known(self, id: PromptId, digest: str) -> type[Taken] | None:
        job = self.known.get(id)
        if job is None or job.state == "cancelled":
            return None
        return SameAgain if job.digest == digest else Conflict

    def took(self, given: New, id: PromptId, digest: str, caller: str, number: str, secret: bool) -> Known:
        told = {"auto": str(self.count), "front": str(-self.count)}.get(number, number)
        self.count += number in ("auto", "front")
        assert given.number == told
        job = self.known[id] = Known(id, digest, caller, told, given.seq, "queued", secret)
        return job

    def refuses(self, refusal: type[Taken] | None, act: Callable[[], Coroutine[Any, Any, T]]) -> T | None:
        if refusal is None:
            return self.wait(act())
        with pytest.raises(refusal):
            self.wait(act())
        return None

    # what happens

    @rule(
        r=replicas,
        id=ids,
        digest=st.sampled_from("dde"),
        caller=st.sampled_from(["ann", "bob"]),
        number=st.sampled_from(["auto", "auto", "front", "2.5"]),
        secret=st.booleans(),
    )
    def accept(self, r: int, id: PromptId, digest: str, caller: str, number: str, secret: bool) -> None:
        refusal = self.is_known(id, digest)
        if refusal is None and sum(job.caller == caller for job in self.waiting()) >= LIMITS.max_queue_per_caller:
            refusal = CallerFull
        elif refusal is None and len(self.waiting()) >= LIMITS.max_queue:
            refusal = FarmFull
        prompt = new(id, digest=digest, client=caller, number=number, secrets=SECRETS if secret else None)
        if given := self.refuses(refusal, lambda: self.stores[r].jobs.accept(prompt, LIMITS)):
            self.took(given, id, digest, caller, number, secret)
            self.waits += 1

    @rule(r=replicas, id=ids, worker=workers, digest=st.sampled_from("dde"), behind=st.sampled_from([0, 0, 0, 1]))
    def accept_on(self, r: int, id: PromptId, worker: WorkerName, digest: str, behind: int) -> None:
        refusal = self.is_known(id, digest)
        if refusal is None and (self.slots(worker) >= DEPTH or behind):
            refusal = SlotLost
        tried, prompt = attempt(id, worker), new(id, digest=digest, client="ann", secrets=SECRETS)
        seen = str(self.waits - behind)
        if given := self.refuses(refusal, lambda: self.stores[r].jobs.accept_on(prompt, tried, seen)):
            job = self.took(given, id, digest, "ann", "auto", secret=True)
            job.state, job.worker, job.attempt, job.attempts = "accepted", worker, tried.id, 1
            self.attempts.append(tried)

    @rule(r=replicas, worker=workers)
    def adopt(self, r: int, worker: WorkerName) -> None:
        id = PromptId(attempt("").id)
        assert self.wait(self.stores[r].jobs.adopt(new(id, client="ann"), worker))
        job = Known(id, "d", "ann", str(self.count), self.version + 1, "assigned", False, worker, id, 1, 0, True)
        self.known[id] = job
        self.count += 1
        self.adopted.add(id)
        self.attempts.append(attempt(id, worker, id))

    @rule(r=replicas, pick=picks, worker=workers)
    def claim_waiting(self, r: int, pick: int, worker: WorkerName) -> None:
        if waiting := self.waiting():
            self.claim(r, waiting[pick % len(waiting)].id, worker)

    @rule(r=replicas, id=ids, worker=workers)
    def claim(self, r: int, id: PromptId, worker: WorkerName) -> None:
        job, tried = self.known.get(id), attempt(id, worker)
        told = self.wait(self.stores[r].jobs.claim(tried, "{}"))
        if job is None or job.state != "queued":
            assert told == "gone"
        elif self.slots(worker) >= DEPTH:
            assert told == "busy"
        else:
            job.attempts += 1
            assert told == Won(new().body, SECRETS if job.secret else {}, job.attempts)
            job.state, job.worker, job.attempt, job.posted = "assigned", worker, tried.id, False
            self.attempts.append(tried)

    @rule(r=replicas, pick=picks, mints=st.booleans())
    def posted(self, r: int, pick: int, mints: bool) -> None:
        tried = self.some_attempt(pick)
        given = AttemptId(attempt("").id) if mints else tried.id
        told = self.wait(self.stores[r].jobs.posted(tried, given, {"node_errors": b"{}"}))
        if (job := self.current(tried)) is None:
            assert told == "gone"
            return
        assert told == ("interrupt" if job.interrupting else "ok")
        job.state = "assigned" if job.state == "accepted" else job.state
        job.posted, job.attempt = True, given
        if mints:
            self.attempts.append(replace(tried, id=given))

    @rule(r=replicas, pick=picks)
    def started(self, r: int, pick: int) -> None:
        tried = self.some_attempt(pick)
        job = self.current(tried)
        starts = job is not None and job.state == "assigned"
        assert self.wait(self.stores[r].jobs.started(tried)) is starts
        if job and starts:
            job.state, job.posted = "running", True

    @rule(r=replicas, pick=picks)
    def over(self, r: int, pick: int) -> None:
        tried = self.some_attempt(pick)
        job = self.current(tried)
        ends = job is not None and job.state in ("assigned", "running") and not job.interrupting
        if job and not job.over and any(other.over for other in self.on(tried.worker)):
            ends = False
        assert self.wait(self.stores[r].jobs.over(tried)) is ends
        if job and ends:
            job.over = True

    @rule(r=replicas, pick=picks, haunts=st.booleans(), crashed=st.booleans(), oom=st.booleans(), refused=st.booleans())
    def requeue(self, r: int, pick: int, haunts: bool, crashed: bool, oom: bool, refused: bool) -> None:
        tried = self.some_attempt(pick)
        refused_by = frozenset({tried.worker}) if refused else frozenset()
        told = self.wait(
            self.stores[r].jobs.requeue(
                tried, haunts=haunts, crashed=crashed, min_vram=5 if oom else 0, refused_by=refused_by
            )
        )
        if (job := self.current(tried)) is None:
            assert told is None
            return
        if job.interrupting:
            assert told == "interrupting"
            return
        job.crashes += crashed
        assert told == job.crashes
        job.state, job.worker, job.attempt, job.posted, job.over = "queued", None, "", False, False
        job.min_vram, job.refused_by = 5 if oom else job.min_vram, refused_by or job.refused_by
        self.waits += 1
        self.haunted(tried, haunts)

    @rule(r=replicas, pick=picks, haunts=st.booleans())
    def drop(self, r: int, pick: int, haunts: bool) -> None:
        tried = self.some_attempt(pick)
        self.wait(self.stores[r].jobs.drop(tried, haunts=haunts))
        if self.current(tried):
            del self.known[tried.prompt]
            self.haunted(tried, haunts)

    def haunted(self, tried: Attempt, haunts: bool) -> None:
        if haunts:
            self.buried.setdefault(tried.worker, set()).add(tried.id)

    @rule(r=replicas, pick=picks, outcome=st.sampled_from(["succeeded", "failed", "interrupted"]))
    def finish_on_a_worker(self, r: int, pick: int, outcome: str) -> None:
        tried = self.some_attempt(pick)
        self.finish(r, tried.prompt, tried, self.current(tried), outcome)

    @rule(r=replicas, id=ids)
    def finish_in_the_queue(self, r: int, id: PromptId) -> None:
        job = self.known.get(id)
        self.finish(r, id, None, job if job and job.state == "queued" else None, "failed")

    def finish(self, r: int, id: PromptId, tried: Attempt | None, job: Known | None, outcome: str) -> None:
        ending = Ending(Outcome(outcome), id.encode(), b"{}")
        assert self.wait(self.stores[r].jobs.finish(id, tried, ending)) is (job is not None)
        if job:
            job.state, job.attempt, job.posted, job.interrupting, job.over = outcome, "", False, False, False
            self.history.append(id)
            for old in self.history[:-HISTORY_MAX]:
                del self.known[old]
            del self.history[:-HISTORY_MAX]

    @rule(r=replicas, id=ids)
    def cancel(self, r: int, id: PromptId) -> None:
        job = self.known.get(id)
        waits = job is not None and job.state == "queued"
        assert self.wait(self.stores[r].jobs.cancel(id)) is waits
        if job and waits:
            job.state = "cancelled"

    @rule(r=replicas, pick=picks)
    def interrupt_on_a_worker(self, r: int, pick: int) -> None:
        self.interrupt(r, self.some_attempt(pick).prompt)

    @rule(r=replicas, id=ids)
    def interrupt_anywhere(self, r: int, id: PromptId) -> None:
        self.interrupt(r, id)

    def interrupt(self, r: int, id: PromptId) -> None:
        job = self.known.get(id)
        told = self.wait(self.stores[r].jobs.interrupt(id))
        if job is None or job.worker is None or job.state not in ("assigned", "running") or job.over:
            assert told is None
            return
        assert told == Interruption(attempt(id, job.worker, job.attempt), job.posted)
        job.interrupting = True

    @rule(r=replicas, id=ids)
    def forget(self, r: int, id: PromptId) -> None:
        assert self.wait(self.stores[r].jobs.forget(id)) is (id in self.history)
        if id in self.history:
            self.history.remove(id)
            del self.known[id]

    @rule(r=replicas)
    def catch_up(self, r: int) -> None:
        """A replica reads what is new since it looked last, and has then what one that reads all would have."""
        version, jobs = self.followed[r]
        feed = self.stores[r].feed
        changes = self.wait(feed.since(version))
        assert not changes.everything
        for id, job in self.wait(feed.jobs(list(changes.prompts))).items():
            jobs.pop(id, None)
            if job is not None:
                jobs[id] = job
        self.followed[r] = (changes.version, jobs)
        cancelled = [id for id, job in self.known.items() if job.state == "cancelled"]
        assert jobs == self.wait(feed.jobs([*self.wait(feed.all_ids()), *cancelled]))

    # what always holds

    @invariant()
    def all_is_well(self) -> None:
        now = self.wait(contents(self.stores[0].redis))
        jobs = self.read({*self.known, *self.seen})
        self.the_store_is_as_the_model_says(jobs)
        self.each_prompt_is_in_one_place(now)
        self.what_is_counted_is_what_is_there(now)
        self.slots_are_held_by_what_is_on_a_worker(now)
        self.every_change_is_told_under_a_version_of_its_own(now, jobs)

    def read(self, ids: Iterable[PromptId]) -> dict[PromptId, Job]:
        return {id: job for id, job in self.wait(self.stores[0].feed.jobs([*ids])).items() if job}

    def the_store_is_as_the_model_says(self, jobs: Mapping[PromptId, Job]) -> None:
        found = {id: facts(job) for id, job in jobs.items()}
        assert found == {id: replace(job, digest="", secret=False) for id, job in self.known.items()}
        assert all(bool(job.tail) is (found[id].state in LIVE) for id, job in jobs.items())

    def each_prompt_is_in_one_place(self, now: Mapping[str, Any]) -> None:
        live = {id for id, _ in now.get(KEYS.live, ())}
        history = [id for id, _ in now.get(KEYS.history, ())]
        assert live.isdisjoint(history)
        assert live == {id for id, job in self.known.items() if job.state in LIVE}
        assert history == self.history
        assert dict(now.get(KEYS.waiting, ())) == {job.id: job.seq for job in self.waiting()}
        assert named(now, KEYS.jobs) == set(self.known)
        assert named(now, KEYS.records) == set(self.history)

    def what_is_counted_is_what_is_there(self, now: Mapping[str, Any]) -> None:
        load = {name: int(count) for name, count in now.get(KEYS.load, {}).items()}
        assert load.pop("bytes", 0) == sum(int(now[KEYS.job(job.id)]["size"]) for job in self.waiting())
        callers = [job.caller for job in self.waiting()]
        assert load == {f"c:{caller}": callers.count(caller) for caller in callers}
        assert int(now.get(KEYS.waits, 0)) == self.waits
        assert named(now, KEYS.secrets) == {id for id, job in self.known.items() if job.secret and job.state in LIVE}

    def slots_are_held_by_what_is_on_a_worker(self, now: Mapping[str, Any]) -> None:
        for worker in map(WorkerName, ("w", "v")):
            held = {name: id.decode() for name, id in now.get(KEYS.held(worker), {}).items()}
            assert held == {job.attempt: "" if job.over else job.id for job in self.on(worker)}
            assert sum(id != "" and id not in self.adopted for id in held.values()) <= DEPTH
            assert sum(id == "" for id in held.values()) <= 1
            assert {name for name, _ in now.get(KEYS.buried(worker), ())} == self.buried.get(worker, set())

    def every_change_is_told_under_a_version_of_its_own(
        self, now: Mapping[str, Any], jobs: dict[PromptId, Job]
    ) -> None:
        differ = {id for id in jobs.keys() | self.seen.keys() if jobs.get(id) != self.seen.get(id)}
        changes = self.wait(self.stores[0].feed.since(self.version))
        assert differ <= changes.prompts
        assert changes.version > self.version if differ else changes.version >= self.version
        assert now.get(KEYS.changes, 0) == changes.version == int(now.get(KEYS.version, 0))
        self.version, self.seen = changes.version, jobs


def named(now: Mapping[str, Any], prefix: str) -> set[str]:
    return {key.removeprefix(prefix) for key in now if key.startswith(prefix)}


@pytest.mark.timeout(300)  # ten seconds of work, which a busy machine may take its time for
def test_prompts_survive_whatever_happens_in_whatever_order(state: str) -> None:
    class Here(Prompts):
        url = state

    # A failure is told as it was found: to make it smaller (Phase.shrink) takes minutes.
    phases = [Phase.generate]
    bounds = settings(deadline=None, derandomize=True, max_examples=40, stateful_step_count=40, phases=phases)
    run_state_machine_as_test(Here, settings=bounds)
