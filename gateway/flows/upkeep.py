"""What one replica, the leading one, does for all now and then; and what each does once when it starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from gateway.domain.addresses import WorkerAddress
from gateway.domain.ids import WorkerName
from gateway.domain.ports import FarmStore, JobStore, WorkerEntry
from gateway.flows.mirror import Mirror


class Upkeep:
    def __init__(self, jobs: JobStore, farm: FarmStore, mirror: Mirror, *, leads: Callable[[], bool]) -> None:
        self._jobs = jobs
        self._farm = farm
        self._mirror = mirror
        self._leads = leads

    async def tick(self) -> None:
        """Let go of leaving workers that hold nothing any more, and of history whose records have expired."""
        if not self._leads():
            return
        for worker in [w for w in self._mirror.workers.values() if w.leaving]:
            await self._farm.remove(worker.name)
        for id in await self._jobs.expired():
            await self._jobs.forget(id)

    async def configure(
        self,
        addresses: Sequence[WorkerAddress],
        home: WorkerName | None,
        labels: Mapping[WorkerName, frozenset[str]],
    ) -> None:
        """Make the farm what the settings say. Workers of earlier settings leave; those of the API stay."""
        await self._mirror.fresh()
        known = self._mirror.workers
        for address in addresses:
            before = known.get(address.name)
            draining = before is not None and before.draining and not before.leaving
            given = labels.get(address.name, frozenset())
            await self._farm.put(WorkerEntry(address.name, address.url, draining, configured=True, labels=given))
        if addresses:
            listed = {address.name for address in addresses}
            for worker in known.values():
                if worker.configured and worker.name not in listed and not worker.leaving:
                    leaves = WorkerEntry(
                        worker.name, worker.url, True, configured=True, leaving=True, labels=worker.labels
                    )
                    await self._farm.put(leaves)
        await self._choose_home(addresses, home)

    async def _choose_home(self, addresses: Sequence[WorkerAddress], wanted: WorkerName | None) -> None:
        """The one that the settings name; else the recorded one, unless it is leaving."""
        await self._mirror.fresh()
        recorded = self._mirror.workers.get(self._mirror.home or WorkerName(""))
        if wanted:
            await self._farm.set_home(wanted)
        elif addresses and (recorded is None or recorded.leaving):
            await self._farm.set_home(addresses[0].name)
