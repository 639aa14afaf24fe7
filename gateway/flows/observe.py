"""Looking at one worker: its queue often, its memory sometimes, its nodes now and then; what was seen is shared."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.domain.errors import BadRequest, WorkerError, WorkerRefused
from gateway.domain.ports import Comfy, FarmStore
from gateway.domain.workers import Down, HalfOpen, Probe, Suspect, Unknown, Worker, probed
from gateway.flows.catalogues import Catalogues

_SECOND_LOOK = 0.3
_PUBLISH_EVERY = 3600.0
"""Also what has not changed: the store forgets in a day what nobody says again."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Seconds between looks, and what makes an answer slow or missed."""

    poll_every: float = 5.0
    stats_every: float = 15.0
    catalogue_every: float = 60.0
    poll_timeout: float = 10.0
    slow_answer: float = 2.0
    in_doubt: float = 1.0  # while it is not known to be up


async def _unheard() -> str:
    return ""


@dataclass(slots=True)
class Observer:
    """The looks at one worker. `look` is called often and does what is due."""

    comfy: Comfy
    farm: FarmStore
    catalogues: Catalogues
    rhythm: Rhythm
    ours: Callable[[], int]  # how many of our prompts are on it
    clock: Callable[[], float] = time.monotonic
    joined: Callable[[], Awaitable[str]] = _unheard
    """Waits a moment for the worker's event socket; returns the client_id that it is heard under."""
    polls: int = 0
    """How often its queue was read."""
    _due: dict[str, float] = field(default_factory=dict)
    _published: Worker | None = None
    _foreign_before: bool = False

    async def look(self, worker: Worker) -> Worker:
        """The worker as it is now; published when it changed enough to matter to others."""
        if self._is_due("poll", self._pace(worker)):
            worker = await self._poll(worker)
        if worker.answers and self._is_due("stats", self.rhythm.stats_every):
            worker = await self._stats(worker)
        if worker.answers and self._catalogue_is_due(worker):
            worker = await self._catalogue(worker)
        if worker.answers and not worker.sid and not (self._published and self._published.answers):
            worker = replace(worker, sid=await self.joined())  # else its first prompt would run unheard
        due = self._is_due("publish", _PUBLISH_EVERY)
        if due or self._published is None or _told(worker) != _told(self._published):
            await self.farm.publish(worker)
            self._published = worker
        return worker

    def hurry(self, *what: str) -> None:
        """Make looks due now: poll, stats, catalogue; all when none is named."""
        for name in what or tuple(self._due):
            self._due[name] = 0.0

    def next_look(self) -> float:
        """Seconds until something is due."""
        return max(0.0, min(self._due.values(), default=0.0) - self.clock())

    def _pace(self, worker: Worker) -> float:
        doubtful = isinstance(worker.liveness, Unknown | Suspect | Down | HalfOpen) or worker.foreign
        return min(self.rhythm.in_doubt, self.rhythm.poll_every) if doubtful else self.rhythm.poll_every

    def _is_due(self, name: str, every: float) -> bool:
        if self.clock() < self._due.get(name, 0.0):
            return False
        self._due[name] = self.clock() + every * random.uniform(0.8, 1.2)
        return True

    def _catalogue_is_due(self, worker: Worker) -> bool:
        if worker.catalogue is None:  # never read, or lost by the store since
            self._due["catalogue"] = min(self._due.get("catalogue", 0.0), self.clock() + self.rhythm.in_doubt)
        return self._is_due("catalogue", self.rhythm.catalogue_every)

    async def _poll(self, worker: Worker) -> Worker:
        began = self.clock()
        ours = self.ours()
        try:
            remaining = await self.comfy.remaining(worker.url, self.rhythm.poll_timeout)
        except WorkerRefused as error:
            return self._reseen(worker, probed(worker, Probe.REFUSED, time.time(), str(error)))
        except WorkerError as error:
            return self._reseen(worker, probed(worker, Probe.MISSED, time.time(), str(error)))
        self.polls += 1
        slow = self.clock() - began > self.rhythm.slow_answer
        seen = probed(worker, Probe.SLOW if slow else Probe.GOOD, time.time(), "slow to answer" if slow else "")
        foreign = self._confirmed(worker, max(0, remaining - max(ours, self.ours())))
        return self._reseen(worker, replace(seen, remaining=remaining, foreign=foreign))

    def _confirmed(self, worker: Worker, foreign: int) -> int:
        """Prompts of others count when seen twice: one of ours on its way in or out looks just like one of them."""
        if foreign and not worker.foreign and not self._foreign_before:
            self._due["poll"] = self.clock() + _SECOND_LOOK
            self._foreign_before = True
            return 0
        self._foreign_before = bool(foreign)
        return foreign

    def _reseen(self, before: Worker, now: Worker) -> Worker:
        """One that comes back may be another installation: read all of it anew."""
        if now.answers and not before.answers:
            self.hurry("stats", "catalogue")
        if type(now.liveness) is not type(before.liveness):
            self._due["poll"] = self.clock() + self._pace(now) * random.uniform(0.8, 1.2)
        return now

    async def _stats(self, worker: Worker) -> Worker:
        try:
            stats = await self.comfy.stats(worker.url, self.rhythm.poll_timeout)
        except WorkerError:
            return worker  # the poll says whether it is there
        devices = [d for d in stats.get("devices") or () if isinstance(d, dict)]
        total, free = (sum(_number(d.get(key)) for d in devices) for key in ("vram_total", "vram_free"))
        return replace(worker, stats=stats, vram_total=total, vram_free=free)

    async def _catalogue(self, worker: Worker) -> Worker:
        try:
            catalogue = await self.catalogues.save(await self.comfy.object_info(worker.url))
        except (WorkerError, BadRequest) as error:
            if worker.catalogue is None:
                self._due["catalogue"] = self.clock() + self.rhythm.in_doubt
            return replace(worker, error=str(error))
        return replace(worker, catalogue=catalogue, catalogue_digest=catalogue.digest)


_VRAM_STEP = 256 * 2**20


def _told(worker: Worker) -> tuple[Any, ...]:
    """What others need to know at once; free VRAM in coarse steps, for it moves all the time."""
    facts = (worker.liveness, worker.foreign, worker.vram_total, worker.vram_free // _VRAM_STEP)
    return (*facts, worker.catalogue_digest, worker.error, worker.sid, worker.lives)


def _number(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and math.isfinite(value) else 0
