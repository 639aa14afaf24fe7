"""What is written inside of model files (/view_metadata), asked for once and remembered."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from gateway.domain.bodies import Body, body
from gateway.domain.errors import GatewayError, NoWorker
from gateway.domain.workers import Worker
from gateway.flows.flights import Flights
from gateway.flows.worker_reads import WorkerReads

_KEEP_FOUND = 3600.0
_KEEP_MISSING = 15.0
_MOST_FILES = 1024
_MOST_BYTES = 2**25


@dataclass(frozen=True, slots=True)
class _Kept:
    body: Body | None
    until: float

    @property
    def size(self) -> int:
        return len(self.body.plain) + len(self.body.packed or b"") if self.body else 0


class Metadata:
    """Any worker that has the file may answer, for it is the same file; the fastest does."""

    def __init__(self, reads: WorkerReads, flights: Flights, wait: float) -> None:
        self._reads = reads
        self._flights = flights
        self._wait = wait
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()
        self._bytes = 0

    async def answer(self, folder: str, filename: str | None) -> Body | None:
        """None for a 404: no such file, or one without metadata (route GET /view_metadata/{folder_name})."""
        if not filename or not filename.endswith(".safetensors"):
            return None
        key = (folder, filename)
        kept = self._kept.get(key)
        if kept is not None and kept.until > _now():
            self._kept.move_to_end(key)
            return kept.body
        found, sure = await self._ask(folder, filename)
        if found is not None or sure:
            self._keep(key, _Kept(found, _now() + (_KEEP_FOUND if found else _KEEP_MISSING)))
        return found

    async def _ask(self, folder: str, filename: str) -> tuple[Body | None, bool]:
        """The metadata, and whether all workers were heard if there is none."""
        path = f"/view_metadata/{quote(folder, safe='')}?{urlencode({'filename': filename})}"
        asking = {self._start(path, worker) for worker in self._reads.workers() if worker.answers}
        deadline = _now() + self._wait
        heard = missed = 0
        while asking and (left := deadline - _now()) > 0:
            done, asking = await asyncio.wait(asking, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                try:
                    raw = task.result()
                except (GatewayError, TimeoutError):
                    missed += 1
                    continue
                heard += 1
                if raw is not None:
                    return await asyncio.to_thread(body, raw), True
        if not heard:
            raise NoWorker("no worker answers to tell what is in that file")
        return None, not missed and not asking

    def _start(self, path: str, worker: Worker) -> asyncio.Task[bytes | None]:
        return self._flights.start((path, worker.name), lambda: self._read(path, worker))

    async def _read(self, path: str, worker: Worker) -> bytes | None:
        async with asyncio.timeout(self._wait):
            return await self._reads.get(worker, path)

    def _keep(self, key: tuple[str, str], kept: _Kept) -> None:
        if before := self._kept.pop(key, None):
            self._bytes -= before.size
        self._kept[key] = kept
        self._bytes += kept.size
        while len(self._kept) > _MOST_FILES or self._bytes > _MOST_BYTES:
            self._bytes -= self._kept.popitem(last=False)[1].size


def _now() -> float:
    return asyncio.get_running_loop().time()
