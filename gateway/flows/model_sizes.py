"""How large model files are, as far as the workers tell: newer ones list them so (GET /experiment/models/{folder})."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from dataclasses import replace

from gateway.domain.errors import GatewayError
from gateway.domain.ids import WorkerName
from gateway.domain.models import FOLDERS
from gateway.domain.placement import Work
from gateway.domain.workers import Worker
from gateway.flows.flights import Flights
from gateway.flows.worker_reads import WorkerReads

log = logging.getLogger(__name__)

_EVERY = 120.0
_SOON = 5.0
"""Seconds until the next worker is asked, while one is missing that a prompt named."""
_PATIENCE = 30.0
_MOST = 50_000
"""Files of one folder."""


class ModelSizes:
    """One worker is asked after the other, as long as there are files that none has told of; then again, in a while."""

    def __init__(self, reads: WorkerReads, flights: Flights) -> None:
        self._reads = reads
        self._flights = flights
        self._sizes: dict[str, dict[str, int]] = {}  # by folder and name
        self._asked: set[WorkerName] = set()
        self._due = 0.0
        self._lacking = False

    def refresh(self) -> None:
        """Start what is due; returns at once."""
        now = asyncio.get_running_loop().time()
        if now < self._due:
            return
        ahead = (worker for worker in self._reads.workers() if worker.answers and worker.name not in self._asked)
        worker = next(ahead, None)
        if worker is None or (self._asked and not self._lacking):
            self._asked.clear()
            self._lacking = False
            self._due = now + _EVERY
            return
        self._asked.add(worker.name)
        self._due = now + _SOON
        self._flights.start(("model sizes", worker.name), lambda: self._read(worker))

    def weighed(self, work: Work) -> Work:
        """The same, with the sizes of its models as they are told, not guessed."""
        told = {model.name: self._of(model.name) for model in work.models}
        self._lacking = self._lacking or not all(told.values())
        if not any(told.values()):
            return work
        sized = (model._replace(size=told[model.name] or model.size) for model in work.models)
        return replace(work, models=frozenset(sized))

    def _of(self, name: str) -> int:
        """The largest file of this name in any folder; 0 when there is none."""
        return max((sizes.get(name, 0) for sizes in self._sizes.values()), default=0)

    async def _read(self, worker: Worker) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                for folder in FOLDERS:
                    raw = await self._reads.get(worker, f"/experiment/models/{folder}")
                    if raw is not None:
                        self._note(folder, dict(_told(raw)))
        except (GatewayError, TimeoutError) as error:
            log.info("model sizes of %s are not read: %r", worker.name, error)

    def _note(self, folder: str, told: dict[str, int]) -> None:
        known = self._sizes.setdefault(folder, {})
        known.update(told)
        while len(known) > _MOST:
            del known[next(iter(known))]


def _told(raw: bytes) -> Iterator[tuple[str, int]]:
    try:
        files = json.loads(raw)
    except ValueError:
        return
    for file in files if isinstance(files, list) else ():
        name, size = (file.get("name"), file.get("size")) if isinstance(file, dict) else (None, None)
        if isinstance(name, str) and type(size) is int and size > 0:
            yield name, size
