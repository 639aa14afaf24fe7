"""When a prompt will start and end, and how much work waits, by what was learned; by the pace of late before that."""

from __future__ import annotations

import time
from dataclasses import dataclass

from gateway.domain.ids import WorkerName
from gateway.domain.jobs import Assigned, Job, Queued, Running
from gateway.domain.learning import Learner
from gateway.domain.placement import Placement, Work
from gateway.flows.mirror import Mirror
from gateway.flows.pace import Pace

_SHORTEST, _LONGEST = 1.0, 600.0
_OVERDUE = 0.1
"""What ran longer than expected will run for this share of its time more, as far as can be said."""


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
        start = self._start(able, position)
        return Eta(start, start + min(self._takes(job.work, name) for name in able))

    def waiting(self) -> float:
        """Predicted seconds of running of all that waits, on middling workers."""
        return sum(self._learner.typical(job.work) for job in self._mirror.live.values() if _waits(job))

    def until_room(self) -> float:
        """Seconds until a full queue may have room: until the next prompt starts; 1 to 600."""
        waiting = sum(map(_waits, self._mirror.live.values()))
        up = sum(worker.refusal() is None for worker in self._mirror.workers.values())
        if not (waiting and up and self._learner.place):
            return self._pace.until_room()
        return min(_LONGEST, max(_SHORTEST, self.waiting() / waiting / up))

    def _start(self, able: list[WorkerName], position: int) -> float:
        """What runs on these workers, and the prompts before it, are divided among them."""
        busy = [self._busy(name) for name in able]
        waiting = max(1, sum(map(_waits, self._mirror.live.values())))
        ahead = position * self.waiting() / waiting
        first = min(busy)
        return first + (sum(busy) - first * len(busy)) * (position > 0) / len(busy) + ahead / len(busy)

    def _busy(self, name: WorkerName) -> float:
        held = [job for job, _ in self._mirror.on(name)]
        return sum(self._remaining(job, job.state) for job in held if isinstance(job.state, Assigned | Running))

    def _remaining(self, job: Job, state: Assigned | Running) -> float:
        ran = max(0.0, time.time() - state.since)
        return max(self._takes(job.work, state.worker) - ran, _OVERDUE * ran)

    def _takes(self, work: Work, name: WorkerName) -> float:
        loads = sum(self._learner.load(model, name) for model in self._learner.missing(work, name))
        return self._learner.run(work, name) + loads


def _waits(job: Job) -> bool:
    return isinstance(job.state, Queued)
