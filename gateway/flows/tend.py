"""Looking after workers: each belongs to one replica at a time, by a lease; so does leading the queue.

While a replica holds a worker's lease, one task of its own observes that worker and watches what runs there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import replace

from gateway.domain.errors import GatewayError, StoreUnavailable, WorkerSilent
from gateway.domain.ids import WorkerName
from gateway.domain.ports import EventSource, FarmStore
from gateway.domain.workers import Suspect, Worker
from gateway.flows.mirror import Mirror
from gateway.flows.observe import Observer
from gateway.flows.sharing import Tasks
from gateway.flows.watch import Watch

log = logging.getLogger(__name__)

_IDLE_LOOK = 1.0
_AFTER_TROUBLE = 0.5
_LEADER = "leader"


class Tender:
    """One worker in this replica's care."""

    def __init__(self, name: WorkerName, mirror: Mirror, observer: Observer, watch: Watch, events: EventSource) -> None:
        self._name = name
        self._mirror = mirror
        self._observer = observer
        self._watch = watch
        self._events = events
        self._bell = asyncio.Event()

    def wake(self) -> None:
        """Something may be due: the mirror changed, or the worker said something."""
        self._bell.set()

    def reread(self) -> None:
        self._observer.hurry("poll", "catalogue")
        self._bell.set()

    async def run(self) -> None:
        async with self._listening() as sid:
            while (worker := self._mirror.workers.get(self._name)) is not None:
                self._bell.clear()
                pause = _AFTER_TROUBLE
                try:
                    pause = await self._look(worker, sid())
                except GatewayError as error:
                    log.warning("worker %s: %s", self._name, error)
                    self._observer.hurry("poll")
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._bell.wait()

    async def _look(self, worker: Worker, sid: str) -> float:
        seen = await self._observer.look(_listened(worker, sid))
        if seen != worker:
            self._mirror.believe(seen)
        if isinstance(seen.liveness, Suspect) and seen.liveness.misses:
            return max(0.01, min(self._observer.next_look(), _IDLE_LOOK))  # it would not answer this either
        await self._watched(seen)
        return max(0.01, min(self._observer.next_look(), self._watch.next_look(), _IDLE_LOOK))

    async def _watched(self, worker: Worker) -> None:
        """Watch no longer than a poll may take, so that the polls which find a frozen worker down are not held up."""
        try:
            async with asyncio.timeout(self._observer.rhythm.poll_timeout):
                await self._watch.look(worker)
        except TimeoutError:
            raise WorkerSilent(f"{worker.url} stopped answering") from None

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[Callable[[], str]]:
        worker = self._mirror.workers[self._name]
        listening: AbstractAsyncContextManager[Callable[[], str]] = self._events.listen(worker.url, self._heard)
        async with listening as sid:
            yield sid

    def _heard(self, attempt: str | None) -> None:
        self._watch.hurry(attempt)
        if attempt is None:
            self._observer.hurry("poll")
        self._bell.set()


def _listened(worker: Worker, sid: str) -> Worker:
    return worker if worker.sid == sid else replace(worker, sid=sid)


class Tending:
    """The leases of this replica, renewed by `tick`, and the tasks that they stand for."""

    def __init__(
        self,
        farm: FarmStore,
        mirror: Mirror,
        tasks: Tasks,
        tender: Callable[[WorkerName], Tender],
        *,
        lease_ttl: float,
    ) -> None:
        self._farm = farm
        self._mirror = mirror
        self._tasks = tasks
        self._make = tender
        self._lease_ttl = lease_ttl
        self._held_until = 0.0
        self._leading = False
        self._tended: dict[WorkerName, tuple[Tender, asyncio.Task[None]]] = {}
        self._known: frozenset[WorkerName] = frozenset()

    def leads(self) -> bool:
        """Whether this replica drains the queue; False as soon as its lease may have run out."""
        return self._leading and time.monotonic() < self._held_until

    def tended(self) -> frozenset[WorkerName]:
        return frozenset(self._tended)

    def wake(self, names: Iterable[WorkerName]) -> None:
        """Something about these workers changed."""
        for name in names:
            if (tended := self._tended.get(name)) is not None:
                tended[0].wake()

    def is_due(self, names: Iterable[WorkerName]) -> bool:
        """Whether one of these is new, so that nobody may be looking after it yet."""
        return any(name not in self._known and name in self._mirror.workers for name in names)

    def reread(self, worker: Worker) -> None:
        if (tended := self._tended.get(worker.name)) is not None:
            tended[0].reread()

    async def tick(self) -> None:
        """Renew, take what is free, let go of what is lost."""
        await self._mirror.fresh()
        self._known = frozenset(self._mirror.workers)
        names = {f"worker:{name}": name for name in self._known}
        asked = time.monotonic()
        held = await self._farm.lease([_LEADER, *names])
        self._held_until = asked + self._lease_ttl
        self._leading = _LEADER in held
        mine = {name for lease, name in names.items() if lease in held}
        for name in self._tended.keys() - mine:
            self._tended.pop(name)[1].cancel()
        for name in mine:
            self._tend(name)

    async def let_go(self) -> None:
        """This replica cannot renew its leases: stop before somebody else begins."""
        if time.monotonic() > self._held_until:
            for name in list(self._tended):
                self._tended.pop(name)[1].cancel()

    async def close(self) -> None:
        """Hand everything over to the other replicas at once."""
        names = [_LEADER, *(f"worker:{name}" for name in self._mirror.workers)]
        self._leading = False
        tasks = [task for _, task in self._tended.values()]
        self._tended.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(StoreUnavailable):
            await self._farm.release(names)

    def _tend(self, name: WorkerName) -> None:
        known = self._tended.get(name)
        if known is None or known[1].done():
            tender = self._make(name)
            self._tended[name] = (tender, self._tasks.start(tender.run(), f"tend {name}"))
