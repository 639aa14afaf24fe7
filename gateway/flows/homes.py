"""Which worker answers what the gateway does not answer itself."""

from __future__ import annotations

import time
from collections.abc import Sequence
from urllib.parse import parse_qs

from gateway.domain.files import OutputFile
from gateway.domain.ids import WorkerName
from gateway.domain.ports import Comfy, JobStore
from gateway.domain.workers import Worker
from gateway.flows.mirror import Mirror

_SUFFIXES = {" [output]": "output", " [temp]": "temp", " [input]": "input"}


class HomesOf:
    """Homes, Files and WorkerReads over the mirror: the home worker is recorded in the state, the same for all."""

    def __init__(self, mirror: Mirror, store: JobStore, comfy: Comfy, *, grace: float) -> None:
        self._mirror = mirror
        self._store = store
        self._comfy = comfy
        self._grace = grace

    async def home(self) -> Worker | None:
        return self._mirror.workers.get(self._mirror.home or WorkerName(""))

    def others(self) -> Sequence[Worker]:
        workers = self._mirror.workers.values()
        return [worker for worker in workers if worker.answers and worker.name != self._mirror.home]

    def named(self, name: WorkerName) -> Worker | None:
        return self._mirror.workers.get(name)

    async def worker_of(self, query: bytes) -> Worker | None:
        file = _file(query)
        name = await self._store.worker_of(file) if file else None
        return self._mirror.workers.get(name) if name else None

    def workers(self) -> Sequence[Worker]:
        known = [w for w in self._mirror.workers.values() if w.answers or w.away(time.time(), self._grace)]
        return sorted(known, key=lambda worker: worker.name != self._mirror.home)

    async def get(self, worker: Worker, path: str) -> bytes | None:
        return await self._comfy.get(worker.url, path)


def _file(query: bytes) -> OutputFile | None:
    """What a query of /view names; an annotated name says its own type (contract 1.3)."""
    given = {key: values[0] for key, values in parse_qs(query.decode("latin-1")).items()}
    name, kind = given.get("filename", ""), given.get("type", "output")
    for suffix, said in _SUFFIXES.items():
        if name.endswith(suffix):
            name, kind = name.removesuffix(suffix), said
    return OutputFile(kind, given.get("subfolder", ""), name) if name and kind != "input" else None
