"""Prompts that ended while their client was away: remembered for a moment, to be told when it is back."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable

from gateway.domain.ids import ClientId
from gateway.domain.jobs import Ended, Job

_SOON = 60.0  # seconds
_CLIENTS = 1000
_OF_EACH = 100
"""There are clients that never open a socket, and whose prompts end all day."""


class Untold:
    """Times are those of the jobs' ends: seconds since 1970."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[ClientId, deque[Job]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._jobs.values()))

    def __contains__(self, client_id: ClientId) -> bool:
        return client_id in self._jobs

    def note(self, job: Job, now: float) -> None:
        if job.client_id is None or _is_old(job, now):
            return
        self._jobs.setdefault(job.client_id, deque(maxlen=_OF_EACH)).append(job)
        self._jobs.move_to_end(job.client_id)
        while len(self._jobs) > _CLIENTS or _is_old(next(iter(self._jobs.values()))[-1], now):
            self._jobs.popitem(last=False)

    def take(self, client_id: ClientId, now: float) -> list[Job]:
        """What is new enough to be told, the oldest first; it is not told again."""
        return [job for job in self._jobs.pop(client_id, ()) if not _is_old(job, now)]

    def forget(self, clients: Iterable[ClientId]) -> None:
        """They were told elsewhere."""
        for client_id in clients:
            self._jobs.pop(client_id, None)


def _is_old(job: Job, now: float) -> bool:
    return isinstance(job.state, Ended) and now - job.state.at > _SOON
