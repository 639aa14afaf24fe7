"""Finding out that a worker's disk is the one it was: by the holder of the worker's lease, when the worker came (back)
and at each end of a prompt.

A worker that cannot take the marker keeps the life it has: it works as ever, but a new disk of it is not found out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import replace

from gateway.domain.errors import WorkerError, WorkerRejected
from gateway.domain.files import TYPES, Lives, Marker
from gateway.domain.ids import WorkerName
from gateway.domain.ports import Comfy, FarmStore
from gateway.domain.workers import Worker

log = logging.getLogger(__name__)

_KNOWN_WITHIN = 10.0


class Disk:
    """The disk of one worker, as the holder of its lease sees it."""

    def __init__(self, comfy: Comfy, farm: FarmStore) -> None:
        self._comfy = comfy
        self._farm = farm
        self._seen = Lives()  # last, if perhaps long ago
        self._sure = asyncio.Event()
        self._doubts = asyncio.Event()
        self._doubts.set()
        self._looking = asyncio.Lock()
        self._unmarked: set[str] = set()
        self._recorded: dict[str, int] = {}
        self._farm_id = ""

    @property
    def lives(self) -> Lives | None:
        """None while the worker may have another disk than the one that was looked at."""
        return self._seen if self._sure.is_set() else None

    def doubt(self) -> None:
        """The worker came or went: whatever it is now, it may have begun anew."""
        self._sure.clear()
        self._doubts.set()

    async def doubted(self) -> None:
        """Returns while it is in doubt."""
        await self._doubts.wait()

    async def settled(self) -> Lives:
        """Once it was looked at; after some seconds without that, what it was last."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_KNOWN_WITHIN):
                await self._sure.wait()
        return self._seen

    async def look(self, worker: Worker) -> bool:
        """Look at all of it, unless that was done since it came; whether something is known now that was not."""
        async with self._looking:
            if self._sure.is_set():
                return False
            self._doubts.clear()
            try:
                self._unmarked.clear()
                self._recorded = await self._farm.lives(worker.name)
                self._seen = Lives(**{type: await self._life(worker, type) for type in TYPES})
            except BaseException:
                self._doubts.set()
                raise
            if not self._doubts.is_set():  # else it came or went meanwhile
                self._sure.set()
            return self._sure.is_set()

    async def ended(self, worker: Worker, types: Iterable[str]) -> Lives:
        """A prompt that wrote files of these types has ended here. One that does not answer is as it was."""
        if not self._sure.is_set():
            with suppress(WorkerError):
                await self.look(worker)
            return self._seen
        async with self._looking:
            for type in types:
                with suppress(WorkerError):
                    self._seen = replace(self._seen, **{type: await self._life(worker, type)})
        return self._seen

    async def _life(self, worker: Worker, type: str) -> int:
        self._farm_id = self._farm_id or await self._farm.farm_id()
        marker = Marker(self._farm_id, worker.name, type)
        known = self._recorded.get(type, 0)
        if type in self._unmarked:
            return max(1, known)
        told = await self._read(worker, marker)
        if told and told == known:
            return known
        life = known + 1 if known or not told else told
        if told != life and not await self._written(worker, marker, life):
            self._unmarked.add(type)
            log.warning("worker %s: no marker can be kept in its %s folder", worker.name, type)
            return max(1, known)
        self._recorded[type] = await self._farm.begin_life(worker.name, type, known, life)
        if known:
            log.info("worker %s: its %s folder began anew, life %d", worker.name, type, self._recorded[type])
        return self._recorded[type]

    async def _read(self, worker: Worker, marker: Marker) -> int:
        try:
            return marker.life(await self._comfy.read(worker.url, marker.file))
        except WorkerRejected:
            return 0

    async def _written(self, worker: Worker, marker: Marker, life: int) -> bool:
        """Read back, for a 200 is not yet a file."""
        try:
            await self._comfy.write(worker.url, marker.file, marker.content(life))
        except WorkerRejected:
            return False
        return await self._read(worker, marker) == life


class Disks:
    """The disks of all workers, each sure of itself only where the worker's lease is held."""

    def __init__(self, make: Callable[[], Disk]) -> None:
        self._make = make
        self._disks: dict[WorkerName, Disk] = {}

    def of(self, name: WorkerName) -> Disk:
        if name not in self._disks:
            self._disks[name] = self._make()
        return self._disks[name]

    def retain(self, names: Collection[WorkerName]) -> None:
        """Forget the disks of other workers."""
        self._disks = {name: disk for name, disk in self._disks.items() if name in names}
