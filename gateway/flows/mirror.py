"""What this replica knows of all prompts and workers: a copy of the store that is never older than the last `fresh`.

Every change in the store has a version; `fresh` reads what came since ours. A request that calls it sees all that
was true when it arrived, and requests of one moment share one check.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from gateway.domain.files.index import FileIndex
from gateway.domain.ids import AttemptId, ClientId, PromptId, WorkerName
from gateway.domain.jobs import Assigned, Attempt, Ended, Job, Outcome, Queued, Running, attempt_of, is_live
from gateway.domain.placement import Placement, Waiting
from gateway.domain.ports import ChangeFeed, Changes, FarmStore, NewPrompt
from gateway.domain.transfers import Transfers
from gateway.domain.workers import Worker
from gateway.flows.catalogues import Catalogues
from gateway.flows.census import Census
from gateway.flows.sharing import Shared

CANCELLED_KEPT = 1000
_UNREAD = -1
_PATIENCE = 0.5
_BREATH = 0.05
_MUCH = 60.0
"""Changes a second: of some ten prompts that run and end."""
_PART = 100
_TOLD = ("url", "draining", "configured", "leaving", "labels")


@dataclass(slots=True)
class News:
    """What one sync brought: workers that something was about, and each prompt before and after."""

    workers: set[WorkerName] = field(default_factory=set)
    prompts: list[tuple[Job | None, Job | None]] = field(default_factory=list)
    gone: set[WorkerName] = field(default_factory=set)
    """Workers that are there no more."""
    emptied: dict[WorkerName, bool] = field(default_factory=dict)
    """Workers whose models are gone, and whether their node caches are too."""


class Mirror:
    def __init__(self, feed: ChangeFeed, farm: FarmStore, catalogues: Catalogues, placement: Placement) -> None:
        self._feed = feed
        self._farm = farm
        self._catalogues = catalogues
        self._placement = placement
        self._listeners: list[Callable[[News], None]] = []
        self._news = News()
        self.census = Census()
        self.version = _UNREAD
        self.waits = "0"
        self.jobs: dict[PromptId, Job] = {}
        self.workers: dict[WorkerName, Worker] = {}
        self.home: WorkerName | None = None
        self.inputs = FileIndex()
        self.transfers = Transfers()
        self.live: dict[PromptId, Job] = {}
        self.accepted: dict[PromptId, Job] = {}
        self.cancelled: dict[PromptId, Job] = {}
        self._on: dict[WorkerName, dict[AttemptId, PromptId]] = {}
        self._history: list[tuple[int, PromptId]] = []
        self._much = False
        self._behind = True  # known to be, so that nobody need ask whether
        self.fresh = Shared(self._sync)

    def listen(self, changed: Callable[[News], None]) -> None:
        """Call `changed` after each sync that brought something."""
        self._listeners.append(changed)

    def remaining(self, client: ClientId | None) -> int:
        """Prompts that this client waits for; for one that never submitted any, all of the farm (invariant 15)."""
        own = self.census.live(client) if client else None
        return len(self.live) if own is None else own

    def knows(self, client: ClientId) -> bool:
        """Whether a prompt of this client is known."""
        return self.census.knows(client)

    async def follow(self, seconds: float) -> None:
        """Take in what is new as soon as it is there, for this long.

        While there is much, that takes a third of the time at most, and so brings more at a time.
        """
        start, at_first = time.monotonic(), self.version
        while (began := time.monotonic()) < start + seconds:
            before = self.version
            await self.fresh()
            if self._much and self.version != before:
                await asyncio.sleep(min(_BREATH, 2 * (time.monotonic() - began)))
            if await self._feed.wait(self.version, _PATIENCE):
                self._behind = True
        self._much = self.version - at_first > _MUCH * (time.monotonic() - start)

    @property
    def ended(self) -> int:
        """How many prompts the history has."""
        return len(self._history)

    @property
    def history(self) -> list[PromptId]:
        """Ended prompts that have a record, the oldest first."""
        return [id for _, id in self._history]

    def on(self, worker: WorkerName) -> list[tuple[Job, Attempt]]:
        """The prompts that hold a slot of this worker."""
        held = self._on.get(worker, {}).items()
        return [(self.jobs[id], Attempt(id, worker, attempt)) for attempt, id in held]

    def is_busy(self, worker: WorkerName) -> bool:
        """Whether a prompt holds a slot of it."""
        return bool(self._on.get(worker))

    def load(self, worker: Worker) -> int:
        """How many prompts it has, ours and others'."""
        return len(self._on.get(worker.name, ())) + worker.foreign

    def holder(self, worker: WorkerName, attempt: AttemptId) -> Job | None:
        """The prompt that holds a slot of this worker by this attempt."""
        id = self._on.get(worker, {}).get(attempt)
        return None if id is None else self.jobs[id]

    def believe(self, worker: Worker) -> None:
        """Take what this replica itself just found out about a worker for true, until the store says otherwise."""
        if (known := self.workers.get(worker.name)) is not None:
            told = {fact: getattr(known, fact) for fact in _TOLD}  # its owner may have said so while we looked
            self.workers[worker.name] = worker = replace(worker, **told)
            self._placement.worker_seen(worker)

    async def _sync(self) -> None:
        while True:
            if not self._behind and await self._feed.version() == self.version:
                return
            changes = await self._feed.since(self.version)
            self._behind = False
            if changes.everything or self.version == _UNREAD:
                await self._read_everything(changes)
            else:
                await self._take(changes)
            news, self._news = self._news, News()
            for changed in self._listeners:
                changed(news)
            if not changes.more:
                return  # all of what was there when this was asked for

    async def _take(self, changes: Changes) -> None:
        for name in changes.emptied:
            self._placement.emptied(name)
        self._news.emptied.update(changes.emptied)
        if changes.workers:
            seen, self.home = await self._farm.some(changes.workers)
            await self._see(seen, gone=changes.workers - seen.keys())
            self._news.workers |= changes.workers
        if changes.files:
            self.inputs.put(await self._feed.files(list(changes.files)))
        for id, job in changes.jobs.items():
            self._put(id, job)
        if rest := changes.prompts - changes.jobs.keys():
            for id, job in (await self._feed.jobs(list(rest))).items():
                self._put(id, job)
        self.version, self.waits = changes.version, changes.waits

    async def _read_everything(self, changes: Changes) -> None:
        """A part at a time, with a breath for others in between: each prompt by itself is as new as it can be."""
        seen = await self._farm.workers()
        self.home = await self._farm.home()
        await self._see(seen, gone=self.workers.keys() - seen.keys())
        self.inputs.replace(await self._feed.all_files())
        ids = await self._feed.all_ids()
        for id in self.jobs.keys() - set(ids):
            self._put(id, None)
        for start in range(0, len(ids), _PART):
            for id, job in (await self._feed.jobs(ids[start : start + _PART])).items():
                self._put(id, job)
        self.version, self.waits = changes.version, changes.waits

    async def _see(self, seen: Mapping[WorkerName, Worker], gone: Iterable[WorkerName]) -> None:
        gone = self.workers.keys() & gone
        for name in gone:
            del self.workers[name]
            self._placement.worker_gone(name)
        new = seen.keys() - self.workers.keys()
        for name, worker in seen.items():
            if worker.catalogue_digest:
                worker = replace(worker, catalogue=await self._catalogues.load(worker.catalogue_digest))
            self.workers[name] = worker
            self._placement.worker_seen(worker)
        if new:
            self.workers = dict(sorted(self.workers.items()))
        self._catalogues.retain(worker.catalogue_digest for worker in self.workers.values())
        if gone:
            self._news.gone |= gone
            self.transfers.retain(self.workers.keys())

    def _put(self, id: PromptId, job: Job | None) -> None:
        before = self.jobs.pop(id, None)
        self._news.prompts.append((before, job))
        self._unlist(id, before)
        if job is None or isinstance(job.state, Ended):
            self._placement.gone(id, time.time())
        if job is not None:
            self._list(job)

    def _list(self, job: Job) -> None:
        if isinstance(job.state, Ended) and job.state.outcome is Outcome.CANCELLED:
            self.cancelled[job.id] = job
            if len(self.cancelled) > CANCELLED_KEPT:
                del self.cancelled[next(iter(self.cancelled))]
            return
        self.jobs[job.id] = job
        self.census.add(job)
        if isinstance(job.state, Ended):
            insort(self._history, (job.state.place, job.id))
            return
        (self.live if is_live(job) else self.accepted)[job.id] = job
        if (attempt := attempt_of(job)) is not None:
            self._on.setdefault(attempt.worker, {})[attempt.id] = job.id
            self._news.workers.add(attempt.worker)
        self._place(job)

    def _unlist(self, id: PromptId, job: Job | None) -> None:
        self.cancelled.pop(id, None)
        if job is None:
            return
        self.census.remove(job)
        self.live.pop(id, None)
        self.accepted.pop(id, None)
        if (attempt := attempt_of(job)) is not None:
            self._on[attempt.worker].pop(attempt.id, None)
            self._news.workers.add(attempt.worker)
        if isinstance(job.state, Ended):
            entry = (job.state.place, id)
            at = bisect_left(self._history, entry)
            if self._history[at : at + 1] == [entry]:
                del self._history[at]

    def _place(self, job: Job) -> None:
        if isinstance(job.state, Queued):
            waiting = waiting_of(job)
            self._placement.waits(self._with_files(waiting, job) if job.files else waiting, time.time())
        elif job.over:
            self._placement.gone(job.id, time.time())
        elif (attempt := attempt_of(job)) is not None:
            since = job.state.since if isinstance(job.state, Assigned | Running) else time.time()
            self._placement.runs(waiting_of(job), attempt.worker, since)

    def _with_files(self, waiting: Waiting, job: Job) -> Waiting:
        """What its files cost where they are not yet. Outputs of others are not counted: their size is not known."""
        known = {ref: kept for ref in job.files if (kept := self.inputs.get(ref)) is not None}
        staged = self.transfers.staged({ref: kept.digest for ref, kept in known.items()})
        return replace(waiting, staging=self.transfers.typical([kept.size for kept in known.values()]), staged=staged)


def waiting_of(job: Job) -> Waiting:
    """A prompt as placement sees it."""
    return Waiting(job.id, job.demand, job.caller, job.order, job.seq, job.refused_by, job.work, job.priority, job.hard)


def just_came(new: NewPrompt, refused_by: frozenset[WorkerName] = frozenset()) -> Waiting:
    """A prompt that has no place in line yet."""
    return Waiting(new.id, new.demand, new.caller, 0, 0, refused_by, new.work, new.priority)


async def until(mirror: Mirror, true: Callable[[], bool], timeout: float) -> bool:
    """Wait until `true()` holds for the mirror, at most `timeout` seconds; whether it does."""
    deadline = time.monotonic() + timeout
    while not true():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.05)
        await mirror.fresh()
    return True


def by_number(jobs: Iterable[Job]) -> list[Job]:
    """In the order in which one ComfyUI would run them."""
    return sorted(jobs, key=lambda job: (job.order, job.id))
