"""How many prompts there are, counted as they come and go: what a glance at a full queue must not walk over it for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from gateway.domain.ids import ClientId
from gateway.domain.jobs import Assigned, Job, Queued, Running, is_live
from gateway.domain.placement import Work


@dataclass(slots=True)
class _Shape:
    """Prompts that wait and are of one shape; what one of them does stands for all."""

    work: Work
    waiting: int = 0


@dataclass(slots=True)
class _Client:
    """Its prompts: those known at all, and those of them that wait or run."""

    known: int = 0
    live: int = 0


class Census:
    def __init__(self) -> None:
        self._clients: dict[ClientId, _Client] = {}
        self._states: Counter[type] = Counter()
        self._shapes: dict[str, _Shape] = {}
        self.bytes = 0
        """Of the prompts that wait."""

    def add(self, job: Job) -> None:
        self._count(job, 1)

    def remove(self, job: Job) -> None:
        self._count(job, -1)

    @property
    def waiting(self) -> int:
        return self._states[Queued]

    @property
    def assigned(self) -> int:
        return self._states[Assigned]

    @property
    def running(self) -> int:
        return self._states[Running]

    def knows(self, client: ClientId) -> bool:
        """Whether a prompt of this client is known."""
        return client in self._clients

    def live(self, client: ClientId) -> int | None:
        """Its prompts that wait or run; None where none of its is known."""
        count = self._clients.get(client)
        return None if count is None else count.live

    def seconds(self, of: Callable[[Work], float]) -> float:
        """What all that waits takes, when `of` says what a prompt of a shape takes."""
        return sum(shape.waiting * of(shape.work) for shape in self._shapes.values())

    def _count(self, job: Job, by: int) -> None:
        self._states[type(job.state)] += by
        if isinstance(job.state, Queued):
            self.bytes += by * job.size
            shape = self._shapes.setdefault(job.work.shape, _Shape(job.work))
            shape.waiting += by
            if not shape.waiting:
                del self._shapes[job.work.shape]
        if job.client_id is not None:
            count = self._clients.setdefault(job.client_id, _Client())
            count.known += by
            count.live += by * is_live(job)
            if not count.known:
                del self._clients[job.client_id]
