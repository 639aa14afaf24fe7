"""The prompts on one worker, from the post to the end, by asking the worker; its events only make us ask sooner.

What a worker holds is read in the order queue, then history: a prompt that moves on cannot be missed.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from gateway.domain import transfers
from gateway.domain.errors import GatewayError
from gateway.domain.ids import AttemptId
from gateway.domain.jobs import Accepted, Assigned, Attempt, Job, Outcome, Running
from gateway.domain.ports import Comfy, JobStore
from gateway.domain.workers import Down, Worker
from gateway.flows.attempts import Attempts, Place
from gateway.flows.children import Children
from gateway.flows.mirror import Mirror

log = logging.getLogger(__name__)

_FIRST_LOOK = 0.1
_LAST_LOOK = 2.0
_BLIND_LOOK = 1.0
_DEEP_EVERY = 10.0
_NEWS_TAKES = 0.5
_INTERRUPT_AGAIN = 3.0
_ANSWER_TIMEOUT = 10.0
_OWNER_LOOK = 1.0
_REST_EVERY = 2.0
_FAILURES = 3
_EARLY_KEPT = 64


@dataclass(slots=True)
class _Sight:
    """What was seen of one attempt, and when to look again (on `Watch`'s clock)."""

    since: float
    look_at: float
    deep_at: float
    interrupt_at: float = 0.0
    record_at: float = 0.0  # when its record was first seen
    failures: int = 0


@dataclass(slots=True)
class Watch:
    store: JobStore
    comfy: Comfy
    mirror: Mirror
    attempts: Attempts
    children: Children
    alive: Callable[[str], Awaitable[bool]]  # whether a replica lives
    patience: float  # seconds after which even a living replica has forgotten the prompt that it was posting
    clock: Callable[[], float] = time.monotonic
    heard: Callable[[], float] = lambda: -math.inf  # when the worker's socket said anything; -inf while there is none
    hears: Callable[[AttemptId], bool] = lambda _: False  # whether an attempt was heard from its start
    will_tell: Callable[[AttemptId], bool] = lambda _: False  # whether the end of one is still to be heard
    blind: bool = False  # nothing is heard of this worker: what runs there is read every second
    _rest_at: float = 0.0
    _sights: dict[AttemptId, _Sight] = field(default_factory=dict)
    _unheard: dict[AttemptId, _Sight] = field(default_factory=dict)
    _early: set[str] = field(default_factory=set)
    _begun: set[str] = field(default_factory=set)

    async def look(self, worker: Worker) -> None:
        """Do what is due for each prompt that holds a slot of this worker."""
        held = self.mirror.on(worker.name)
        self._forget({attempt.id for _, attempt in held})
        for _, attempt in held:
            if (job := self.mirror.holder(worker.name, attempt.id)) is None:
                continue  # it has ended with one that ran after it
            try:
                await self._look_at(job, attempt, worker)
            except GatewayError:
                raise
            except Exception:
                log.exception("prompt %s cannot be watched", job.id)
                await self._failed(job, attempt)
        await self._lay_to_rest(worker)

    async def _look_at(self, job: Job, attempt: Attempt, worker: Worker) -> None:
        if isinstance(worker.liveness, Down):
            await self._bereaved(job, attempt, worker)
        elif _posted(job):
            await self._check(job, attempt, worker)
        else:
            await self._unanswered(job, attempt, worker)

    async def _failed(self, job: Job, attempt: Attempt) -> None:
        if (sight := self._sights.get(attempt.id)) is None:
            return
        sight.failures += 1
        if sight.failures >= _FAILURES:
            why = "The gateway cannot read what its worker says of it."
            await self.attempts.end_here(job, attempt, Outcome.FAILED, why)

    async def adopt(self, worker: Worker, heard: Collection[str]) -> None:
        """Prompts that this worker runs for ours, and nobody here has posted."""
        await self.children.adopt(worker, heard)

    def began(self, attempt: str) -> None:
        """The worker said that it runs this."""
        if len(self._begun) >= _EARLY_KEPT:
            self._begun.clear()  # then it is read
        self._begun.add(attempt)

    def over(self, attempt: str) -> None:
        """The worker said that this has ended, and will say when its record is there; if not, it is looked for."""
        self._begun.discard(attempt)
        if (sight := self._sights.get(AttemptId(attempt))) is not None:
            sight.look_at = min(sight.look_at, self.clock() + _FIRST_LOOK)

    def hurry(self, attempt: str | None = None) -> None:
        """Something happened to this attempt, or to any: look at once."""
        for id, sight in self._sights.items():
            if attempt in (None, id):
                sight.look_at = 0.0
        self._begun.discard(attempt or "")
        if attempt is not None and attempt not in self._sights and len(self._early) < _EARLY_KEPT:
            self._early.add(attempt)  # its post is not on record yet

    def next_look(self) -> float:
        """Seconds until something is due."""
        rarest = self.clock() + (_OWNER_LOOK if self._unheard else _DEEP_EVERY)
        return max(0.0, min((s.look_at for s in self._sights.values()), default=rarest) - self.clock())

    async def _check(self, job: Job, attempt: Attempt, worker: Worker) -> None:
        now = self.clock()
        if (sight := self._sights.get(attempt.id)) is None:
            first = now if attempt.id in self._early else now + _FIRST_LOOK
            sight = self._sights[attempt.id] = _Sight(now, first, now + _FIRST_LOOK)
            self._early.clear()
        if now < sight.look_at and isinstance(job.state, Assigned) and attempt.id in self._begun:
            sight.deep_at = now + _DEEP_EVERY
            sight.look_at = now + (_BLIND_LOOK if self.blind or job.interrupting else _DEEP_EVERY)
            self._begun.discard(attempt.id)
            await self.store.started(attempt)  # meanwhile its end may be heard
        if now < sight.look_at:
            return
        sight.look_at = now + (self._pause(job, sight, now) if sight.look_at else _FIRST_LOOK)
        if job.interrupting and now >= sight.interrupt_at:
            sight.interrupt_at = now + _INTERRUPT_AGAIN
            await self.attempts.take_back(worker, attempt.id)
        if now < sight.deep_at:
            record = await self.comfy.history(worker.url, attempt.id)
            remaining = await self.comfy.remaining(worker.url, _ANSWER_TIMEOUT)
            if record is not None:
                await self._ended(job, attempt, record, worker, remaining)
            if record is not None or remaining:
                return
        sight.deep_at = now + _DEEP_EVERY
        await self._find(job, attempt, worker)

    async def _ended(self, job: Job, attempt: Attempt, record: dict[str, Any], worker: Worker, remaining: int) -> None:
        """Its record is there; its last events may still be on their way, and come before its end."""
        sight, now = self._sights[attempt.id], self.clock()
        sight.record_at = sight.record_at or now
        if self.will_tell(attempt.id) and now < sight.record_at + _NEWS_TAKES:
            sight.look_at = now + _FIRST_LOOK
            return
        heard = self.hears(attempt.id)
        if not heard or remaining > self._others(worker, attempt):
            await self.children.adopt(worker, after=None if heard else attempt.id)
        await self._end(job, attempt, record, worker)

    def _pause(self, job: Job, sight: _Sight, now: float) -> float:
        """Seconds to the next look. A worker that tells what it does is not asked often, for an end hurries us."""
        told = isinstance(job.state, Running) and self.heard() > sight.since - _NEWS_TAKES
        if told and not (self.blind or job.interrupting or job.over):
            return _DEEP_EVERY
        rarest = _BLIND_LOOK if self.blind else _LAST_LOOK
        return min(rarest, _FIRST_LOOK + (now - sight.since) / 10)

    async def _find(self, job: Job, attempt: Attempt, worker: Worker) -> None:
        queue = await self.comfy.queue(worker.url)
        where = await self.attempts.whereabouts(worker, attempt.id, queue)
        if where is Place.RUNNING:
            if isinstance(job.state, Assigned):
                await self.store.started(attempt)
            await self.children.adopt(worker, queue=queue)
        elif where is Place.ABSENT:
            await self.attempts.abandon(job, attempt, f"{worker.name} lost it", haunts=True, crashed=True)
        elif isinstance(where, dict):
            self.hurry(attempt.id)  # it has ended just now

    async def _end(self, job: Job, attempt: Attempt, record: dict[str, Any], worker: Worker) -> None:
        for other, before in self._before(job, worker):  # the history keeps the order in which they ended
            if (told := await self.comfy.history(worker.url, before.id)) is not None:
                await self.attempts.end(other, before, told, worker, heard=self.hears(before.id))
        await self.attempts.end(job, attempt, record, worker, heard=self.hears(attempt.id))
        await self.mirror.fresh()  # so that the next look does not read the record once more

    def _before(self, job: Job, worker: Worker) -> list[tuple[Job, Attempt]]:
        """Our other prompts on the worker that it began, or was given, before this one."""
        held = [(other, attempt) for other, attempt in self.mirror.on(worker.name) if _posted(other)]
        ours = next((_turn(other) for other, _ in held if other.id == job.id), _turn(job))
        return sorted((one for one in held if _turn(one[0]) < ours), key=lambda one: _turn(one[0]))

    def _others(self, worker: Worker, attempt: Attempt) -> int:
        """How many of our prompts are on the worker besides this one."""
        return sum(1 for job, other in self.mirror.on(worker.name) if other.id != attempt.id and _posted(job))

    async def _bereaved(self, job: Job, attempt: Attempt, worker: Worker) -> None:
        """Its worker is down. The crash is charged to what ran there, not to what waited behind others."""
        if isinstance(job.state, Accepted):
            if not await self.alive(job.state.owner):
                await self.store.drop(attempt, haunts=True)
            return
        if not _posted(job) and isinstance(job.state, Assigned) and await self.alive(job.state.owner):
            return  # whoever posts it hears the same
        ran = not job.over and (isinstance(job.state, Running) or (_posted(job) and not worker.foreign))
        await self.attempts.abandon(job, attempt, f"{worker.name} went down", haunts=True, crashed=ran)

    async def _unanswered(self, job: Job, attempt: Attempt, worker: Worker) -> None:
        """On its way to the worker in the hands of a replica; when that one is lost, find out how far it came."""
        now = self.clock()
        sight = self._unheard.setdefault(attempt.id, _Sight(now, now + _OWNER_LOOK, now))
        if now < sight.look_at:
            return
        sight.look_at = now + _OWNER_LOOK
        owner = job.state.owner if isinstance(job.state, Accepted | Assigned) else ""
        patience = self.patience + (transfers.patience(self.mirror.inputs.size(job.files)) if job.files else 0.0)
        if now - sight.since < patience and await self.alive(owner):
            return
        where = await self.attempts.whereabouts(worker, attempt.id)
        if isinstance(job.state, Accepted):
            await self.store.drop(attempt, haunts=True)  # its client never had a 200
        elif where is Place.ABSENT:
            await self.attempts.abandon(job, attempt, "its gateway died while posting it", haunts=True, crashed=False)
        else:
            await self.store.posted(attempt, attempt.id, {})

    async def _lay_to_rest(self, worker: Worker) -> None:
        """Attempts that were given up and show on the worker after all."""
        if not worker.answers or not worker.foreign or self.clock() < self._rest_at:
            return
        self._rest_at = self.clock() + _REST_EVERY
        buried = await self.store.buried(worker.name)
        if not buried:
            return
        queue = await self.comfy.queue(worker.url)
        for id in buried:
            if id in queue:
                await self.attempts.take_back(worker, id)

    def _forget(self, kept: set[AttemptId]) -> None:
        for sights in (self._sights, self._unheard):
            for id in sights.keys() - kept:
                del sights[id]


def _turn(job: Job) -> tuple[bool, float, int]:
    """What sorts the prompts of one worker as it runs them: what runs, then what waits there."""
    since = job.state.since if isinstance(job.state, Assigned | Running) else math.inf
    return not isinstance(job.state, Running), since, job.seq


def _posted(job: Job) -> bool:
    return isinstance(job.state, Running) or (isinstance(job.state, Assigned) and job.state.posted)
