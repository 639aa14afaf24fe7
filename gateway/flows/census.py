"""How many prompts there are, counted as they come and go: what a glance at a full queue must not walk over it for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from gateway.domain.ids import ClientId
from gateway.domain.jobs import Assigned, Job, Queued, Running, is_live
from gateway.domain.placement import Work


@dataclass(slots=True)
class _Client:
    """Its prompts: those known at all, and those of them that wait or run."""

    known: int = 0
    live: int = 0


class Census:
    def __init__(self) -> None:
        self._clients: dict[ClientId, _Client] = {}
        self._states: Counter[type] = Counter()
        self._shapes: dict[str, Work] = {}
        self._waiting: Counter[str] = Counter()  # by the shape of their workflows
        self.bytes = 0
        """Of the prompts that wait."""

    def add(self, job: Job) -> None:
        self._count(job, 1)
        if isinstance(job.state, Queued):
            self._shapes.setdefault(job.work.shape, job.work)

    def remove(self, job: Job) -> None:
        self._count(job, -1)
        if isinstance(job.state, Queued) and not self._waiting[job.work.shape]:
            del self._waiting[job.work.shape], self._shapes[job.work.shape]

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
        return sum(count * of(self._shapes[shape]) for shape, count in self._waiting.items())

    def _count(self, job: Job, by: int) -> None:
        self._states[type(job.state)] += by
        if isinstance(job.state, Queued):
            self._waiting[job.work.shape] += by
            self.bytes += by * job.size
        if job.client_id is not None:
            count = self._clients.setdefault(job.client_id, _Client())
            count.known += by
            count.live += by * is_live(job)
            if not count.known:
                del self._clients[job.client_id]
