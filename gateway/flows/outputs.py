"""The outputs of all workers as one: their names in what clients are told, and the way back from a name to a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from gateway.domain.callers import Caller
from gateway.domain.errors import NoWorker
from gateway.domain.files import (
    Bare,
    Lives,
    Names,
    OutputFile,
    bare,
    files_in,
    rename,
    rename_output,
    rename_record,
)
from gateway.domain.files.index import Kept
from gateway.domain.frames import Frame, Kind
from gateway.domain.ids import WorkerName
from gateway.domain.jobs import Attempt, Job
from gateway.domain.ports import JobStore
from gateway.domain.workers import Worker
from gateway.flows.keep_outputs import Keeps
from gateway.flows.lives import Disks
from gateway.flows.mirror import Mirror, until

_SURE_WITHIN = 2.0


@dataclass(frozen=True, slots=True)
class Place:
    """A file, and the workers that have it, any of which may be asked for it by the name `file`."""

    name: str
    """In the farm."""
    file: OutputFile
    workers: Sequence[Worker]
    kept: Kept | None = None
    """Where the farm has a copy of its own."""


class Outputs:
    """`shared`: all workers write into one output folder."""

    def __init__(self, store: JobStore, mirror: Mirror, disks: Disks, keeps: Keeps, *, shared: bool) -> None:
        self._store = store
        self._mirror = mirror
        self._disks = disks
        self._keeps = keeps
        self.shared = shared

    async def ended(self, job: Job, attempt: Attempt, worker: Worker, record: dict[str, Any]) -> bool:
        """Make a worker's record the farm's, in place, and remember whose files are in it. False while they are copied:
        then it is not to be shown yet, and this to be asked again."""
        written = files_in(record.get("outputs"))
        lives = await self._disks.of(worker.name).ended(worker, {file.type for file in written})
        names = self._names(worker.name, lives)
        rename_record(record, names)
        known = {file: names.of(file.type, file.filename) for file in written}
        copies = {file: file._replace(filename=name) for file, name in known.items()}
        if not await self._keeps.copied(attempt.id, worker, copies):
            return False
        await self._store.note_files(Caller(job.client_id, job.peer), known)
        return True

    async def renamed(self, worker: WorkerName, frame: Frame) -> Frame:
        """A frame of this worker with its files by the farm's names."""
        if not isinstance(frame.raw, str) or frame.kind is Kind.UNKNOWN:
            return frame
        if frame.kind is not Kind.EXECUTED and '"filename"' not in frame.raw:
            return frame
        names = self._names(worker, await self._disks.of(worker).settled())
        told = json.loads(frame.raw)
        if frame.kind is Kind.EXECUTED:
            changed = rename_output(told["data"].get("output"), names)
        else:
            changed = rename(told, names)
        return replace(frame, raw=json.dumps(told), data=told.get("data")) if changed else frame

    async def find(self, file: OutputFile, caller: Caller) -> Place | None:
        """The file of that name in the farm, else this caller's newest that its worker called so. None when there is
        none, and NoWorker when it cannot be told at the moment."""
        await self._mirror.fresh()
        if self.shared and file.type == "output":
            return Place(file.filename, file, self._up(), await self._keeps.find(file))
        name, found, kept = await self._named(file)
        if found is None and kept is None:
            named = await self._store.noted(caller, file)
            name, found, kept = await self._named(file._replace(filename=named or ""))
        own = file._replace(filename=found.filename if found else name)
        if kept is not None:
            return Place(name, own, self._with(found, file.type), kept)
        if found is None or (await self._lives(found, file.type)).of(file.type) != found.life:
            return None
        return Place(name, own, [self._mirror.workers[found.worker]])

    def is_named(self, filename: str) -> bool:
        """Whether it is a name in the farm of a file of one of its workers."""
        return bare(filename, self._mirror.workers) is not None

    async def _named(self, file: OutputFile) -> tuple[str, Bare | None, Kept | None]:
        kept = await self._keeps.find(file) if file.filename else None
        return file.filename, bare(file.filename, self._mirror.workers), kept

    def _with(self, found: Bare | None, type: str) -> list[Worker]:
        """The worker that has it still, if that is known without waiting."""
        worker = self._mirror.workers.get(found.worker) if found else None
        if worker is None or found is None or not worker.answers or worker.lives is None:
            return []
        return [worker] if worker.lives.of(type) == found.life else []

    def _names(self, worker: WorkerName, lives: Lives) -> Names:
        return Names(worker, lives, shared=self.shared, workers=self._mirror.workers)

    def _up(self) -> list[Worker]:
        """The home first."""
        up = [worker for worker in self._mirror.workers.values() if worker.answers]
        return sorted(up, key=lambda worker: worker.name != self._mirror.home)

    async def _lives(self, found: Bare, type: str) -> Lives:
        """Of the worker's disk now: what the holder of its lease has just found out may still be on its way here."""

        def known() -> bool:
            worker = self._mirror.workers.get(found.worker)
            if worker is None or not worker.answers:
                return True
            return worker.lives is not None and worker.lives.of(type) != found.life - 1

        await until(self._mirror, known, _SURE_WITHIN)
        worker = self._mirror.workers.get(found.worker)
        if worker is None or not worker.answers or worker.lives is None:
            raise NoWorker(f"worker {found.worker} is away, and only it can answer this")
        return worker.lives
