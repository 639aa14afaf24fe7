"""When a prompt will start and end, and how much work waits, by what was learned; by the pace of late before that."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from heapq import heapreplace

from gateway.domain.ids import PromptId, WorkerName
from gateway.domain.jobs import Assigned, Job, Queued, Running
from gateway.domain.learning import Learner
from gateway.domain.placement import Placement, Work
from gateway.flows.mirror import Mirror
from gateway.flows.pace import Pace

_SHORTEST, _LONGEST = 1.0, 600.0
_OVERDUE = 0.1
"""What ran longer than expected will run for this share of its time more, as far as can be said."""

_BREATH = 50
"""After so many workers others get their turn."""
_SINGLY = 256
"""So many of the prompts before one are placed one by one; more are divided evenly among the workers first."""


@dataclass(frozen=True, slots=True)
class Eta:
    """Seconds from now; None while nothing is known."""

    start: float | None
    done: float | None


class Forecast:
    def __init__(self, mirror: Mirror, placement: Placement, learner: Learner, pace: Pace) -> None:
        self._mirror = mirror
        self._placement = placement
        self._learner = learner
        self._pace = pace

    def of(self, job: Job) -> Eta:
        """For a prompt that waits or runs."""
        if isinstance(job.state, Assigned | Running):
            return Eta(0.0, self._remaining(job, job.state) if self._learner.place else None)
        position = self._placement.position(job.id) if isinstance(job.state, Queued) else None
        if position is None:
            return Eta(None, None)
        if not self._learner.place:
            return Eta(self._pace.until_turn(position), None)
        able = [w.name for w in self._placement.able(job.demand) if w.refusal() is None]
        if not able:
            return Eta(None, None)
        done, start = min((start + self._takes(job.work, name), start) for start, name in self._starts(able, job.id))
        return Eta(start, done)

    def waiting(self) -> float:
        """Predicted seconds of running of all that waits, on middling workers."""
        return self._mirror.census.seconds(self._learner.typical)

    def until_room(self) -> float:
        """Seconds until a full queue may have room: until the next prompt starts; 1 to 600."""
        waiting = self._mirror.census.waiting
        up = sum(worker.refusal() is None for worker in self._mirror.workers.values())
        if not (waiting and up and self._learner.place):
            return self._pace.until_room()
        return min(_LONGEST, max(_SHORTEST, self.waiting() / waiting / up))

    async def tick(self) -> None:
        """Tell placement when what runs is now expected to end: by what was learned since it was placed, and later
        than expected where it is overdue."""
        if not self._learner.place:
            return
        for number, name in enumerate(list(self._mirror.workers)):
            if number % _BREATH == 0:
                await asyncio.sleep(0)
            for job, _ in self._mirror.on(name):
                if isinstance(job.state, Assigned | Running):
                    self._placement.ends_at(job.id, time.time() + self._remaining(job, job.state))

    def _starts(self, able: list[WorkerName], id: PromptId) -> list[tuple[float, WorkerName]]:
        """When each of these workers could begin with this prompt, in seconds from now: it ends what it holds, and
        whichever is free first takes the next of those before."""
        ahead = self._placement.ahead(id, self._learner.typical)
        free = sorted((self._busy(name), name) for name in able)
        if ahead is None or ahead.count < 0.5:
            return free
        each = ahead.seconds / ahead.count
        single = min(round(ahead.count), _SINGLY)
        level = max(0.0, (ahead.count - single) * each / len(free))
        free = [(seconds + level, name) for seconds, name in free]
        for _ in range(single):
            seconds, name = free[0]
            heapreplace(free, (seconds + each, name))
        return free

    def _busy(self, name: WorkerName) -> float:
        held = [job for job, _ in self._mirror.on(name)]
        return sum(self._remaining(job, job.state) for job in held if isinstance(job.state, Assigned | Running))

    def _remaining(self, job: Job, state: Assigned | Running) -> float:
        ran = max(0.0, time.time() - state.since)
        return max(self._takes(job.work, state.worker) - ran, _OVERDUE * ran)

    def _takes(self, work: Work, name: WorkerName) -> float:
        loads = sum(self._learner.load(model, name) for model in self._learner.missing(work, name))
        return self._learner.run(work, name) + loads
