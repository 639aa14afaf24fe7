"""Leases: each worker is looked after by one replica at a time, and one replica drains the queue."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from gateway.domain.errors import StoreUnavailable
from gateway.domain.ids import WorkerName
from gateway.domain.ports import FarmStore
from gateway.domain.workers import Worker
from gateway.flows.mirror import Mirror, News
from gateway.flows.sharing import Tasks, stopped
from gateway.flows.tender import Tender

log = logging.getLogger(__name__)

_LEADER = "leader"
_NEW_AT_ONCE = 50
"""Workers that are got to know from one tick to the next: a thousand at once would time out waiting for each other."""


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

    def changed(self, news: News) -> None:
        """For the mirror's listeners."""
        for name in news.workers:
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
        with suppress(TimeoutError):  # the leases are not lost because there is much news
            async with asyncio.timeout(self._lease_ttl / 4):
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
        alone = [name for name in mine if name not in self._tended or self._tended[name][1].done()]
        for name in alone[:_NEW_AT_ONCE]:
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
        await stopped(tasks)
        with suppress(StoreUnavailable):
            await self._farm.release(names)

    def _tend(self, name: WorkerName) -> None:
        tender = self._make(name)
        self._tended[name] = (tender, self._tasks.start(tender.run(), f"tend {name}"))
