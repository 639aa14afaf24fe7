"""Lists that every worker has its own of (/models/loras, /extensions …), kept united and fresh in memory."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.domain.bodies import Body, json_body
from gateway.domain.errors import GatewayError, NoWorker, WorkerSilent
from gateway.domain.ids import WorkerName
from gateway.domain.workers import Worker
from gateway.flows.flights import Flights
from gateway.flows.worker_reads import WorkerReads

log = logging.getLogger(__name__)

_MOST_LISTS = 256
"""Paths are the clients' to choose, so they are bounded; the one not asked for longest goes first."""

_UNASKED = 900.0
"""Seconds after which nobody seems to care for a list, and it is no longer kept fresh."""


@dataclass(slots=True)
class _Held:
    items: list[object] | None  # None: the worker knows no such list
    due: float  # when to read it again


@dataclass(slots=True)
class _List:
    asked: float
    of: dict[WorkerName, _Held] = field(default_factory=dict)
    due: dict[WorkerName, float] = field(default_factory=dict)  # after a failure, of those not held yet
    made: tuple[object, Body | None] | None = None  # the answer, and what it was made of


@dataclass(frozen=True, slots=True)
class Patience:
    """All in seconds."""

    every: float = 60.0  # between two readings of one list from one worker
    read: float = 10.0  # for one reading
    first: float = 10.0  # for a first answer, when nothing is known
    rest: float = 0.5  # for the other workers, once one has given a first answer


class Listings:
    def __init__(self, reads: WorkerReads, flights: Flights, patience: Patience, jitter: Callable[[], float]) -> None:
        self._reads = reads
        self._flights = flights
        self._patience = patience
        self._jitter = jitter
        self._lists: OrderedDict[str, _List] = OrderedDict()

    async def answer(self, path: str) -> Body | None:
        """The union in the farm's order, or None when no worker knows this path. Waits only if none is read yet."""
        now = _now()
        entry = self._lists.setdefault(path, _List(now))
        entry.asked = now
        self._lists.move_to_end(path)
        if not any(worker.name in entry.of for worker in self._reads.workers()):
            await self._first(path, entry)
        while len(self._lists) > _MOST_LISTS:
            self._lists.popitem(last=False)
        return await self._made(entry)

    def refresh(self) -> None:
        """Start reading what is due from the workers that are up; returns at once."""
        now = _now()
        workers = self._reads.workers()
        for path, entry in list(self._lists.items()):
            if now - entry.asked > _UNASKED:
                del self._lists[path]
                continue
            for worker in workers:
                held = entry.of.get(worker.name)
                if worker.answers and (held.due if held else entry.due.get(worker.name, 0.0)) <= now:
                    self._read(path, entry, worker)

    def _read(self, path: str, entry: _List, worker: Worker) -> asyncio.Task[None]:
        key = (path, worker.name, id(entry))  # one that was let go and is asked for again is another
        return self._flights.start(key, lambda: self._reading(path, entry, worker))

    async def _reading(self, path: str, entry: _List, worker: Worker) -> None:
        pause = self._patience.every * self._jitter()
        try:
            async with asyncio.timeout(self._patience.read):
                items = _items(path, await self._reads.get(worker, path))
        except (GatewayError, TimeoutError) as exc:
            log.info("%s of %s is not read: %r", path, worker.name, exc)
            held = entry.of.get(worker.name)
            if held is not None:
                held.due = _now() + pause
            entry.due[worker.name] = _now() + pause
            raise
        entry.of[worker.name] = _Held(items, _now() + pause)

    async def _first(self, path: str, entry: _List) -> None:
        """Until one worker has answered, and then a moment for the others."""
        reading: set[asyncio.Task[None]] = {
            self._read(path, entry, worker) for worker in self._reads.workers() if worker.answers
        }
        deadline = _now() + self._patience.first
        while reading and not entry.of and (left := deadline - _now()) > 0:
            _, reading = await asyncio.wait(reading, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if not entry.of:
            raise NoWorker("no worker has told its lists yet")
        if reading:
            await asyncio.wait(reading, timeout=self._patience.rest)

    async def _made(self, entry: _List) -> Body | None:
        held = [entry.of[worker.name].items for worker in self._reads.workers() if worker.name in entry.of]
        if entry.made is None or entry.made[0] != held:
            known = [items for items in held if items is not None]
            made = await asyncio.to_thread(json_body, _united(known)) if known else None
            entry.made = (held, made)
        return entry.made[1]


def _items(path: str, raw: bytes | None) -> list[object] | None:
    if raw is None:
        return None
    try:
        found = json.loads(raw)
    except ValueError:
        found = None
    if not isinstance(found, list):
        raise WorkerSilent(f"{path} is no list")
    return found


def _united(lists: list[list[object]]) -> list[object]:
    seen: dict[str, object] = {}
    for items in lists:
        for item in items:
            seen.setdefault(item if isinstance(item, str) else json.dumps(item), item)
    return list(seen.values())


def _now() -> float:
    return asyncio.get_running_loop().time()
