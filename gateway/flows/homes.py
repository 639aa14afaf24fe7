"""Which worker answers what the gateway does not answer itself."""

from __future__ import annotations

import time
from collections.abc import Sequence

from gateway.domain.ids import WorkerName
from gateway.domain.ports import Comfy
from gateway.domain.workers import Worker
from gateway.flows.mirror import Mirror


class HomesOf:
    """Homes and WorkerReads over the mirror: the home worker is recorded in the state, the same for all."""

    def __init__(self, mirror: Mirror, comfy: Comfy, *, grace: float) -> None:
        self._mirror = mirror
        self._comfy = comfy
        self._grace = grace

    def home(self) -> Worker | None:
        return self._mirror.workers.get(self._mirror.home or WorkerName(""))

    def others(self) -> Sequence[Worker]:
        workers = self._mirror.workers.values()
        return [worker for worker in workers if worker.answers and worker.name != self._mirror.home]

    def named(self, name: WorkerName) -> Worker | None:
        return self._mirror.workers.get(name)

    def workers(self) -> Sequence[Worker]:
        known = [w for w in self._mirror.workers.values() if w.answers or w.away(time.time(), self._grace)]
        return sorted(known, key=lambda worker: worker.name != self._mirror.home)

    async def get(self, worker: Worker, path: str) -> bytes | None:
        return await self._comfy.get(worker.url, path)
