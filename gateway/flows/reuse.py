"""Files that prompts wrote, as inputs of others: found by their farm-wide name on the worker that wrote them."""

from __future__ import annotations

import posixpath
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.domain.callers import Caller
from gateway.domain.errors import NotFound, NoWorker, WorkerError
from gateway.domain.files import WRITTEN, OutputFile
from gateway.domain.files.refs import FileRef
from gateway.domain.ports.worker_files import Stat, WorkerFiles
from gateway.flows.outputs import Outputs, Place

_NOBODY = Caller(None, "")
"""Names that only mean something to one caller are no names of the farm."""


@dataclass(frozen=True, slots=True)
class Found:
    url: str
    ref: FileRef  # as its worker knows it
    stat: Stat

    @property
    def digest(self) -> str:
        """Stands for its bytes: no two files of the farm share it, and it is another when the file is written anew."""
        return f"{self.url} {self.stat.etag} {self.stat.size}"


class Reuse:
    def __init__(self, outputs: Outputs, worker_files: WorkerFiles) -> None:
        self._outputs = outputs
        self._worker_files = worker_files

    async def knows(self, ref: FileRef) -> bool:
        """Whether it is a file of the farm. Raises NoWorker when that cannot be told at the moment."""
        place = await self._place(ref)
        return place is not None and (_is_everywhere(place, ref) or await self._found(place) is not None)

    async def find(self, ref: FileRef) -> Found | None:
        """None for what is gone, for what a worker has that is away, and for what is on a disk that all share."""
        try:
            place = await self._place(ref)
        except NoWorker:
            return None
        return None if place is None or _is_everywhere(place, ref) else await self._found(place)

    @asynccontextmanager
    async def open(self, found: Found) -> AsyncIterator[AsyncIterator[bytes]]:
        """Raises NotFound, also when its worker went away meanwhile."""
        try:
            async with self._worker_files.open(found.url, found.ref) as opened:
                yield _blameless(opened.chunks)
        except WorkerError as error:
            raise NotFound(f"{found.ref} cannot be read: {error}") from error

    async def _place(self, ref: FileRef) -> Place | None:
        if ref.type not in WRITTEN:
            return None
        return await self._outputs.find(OutputFile(ref.type, ref.subfolder, ref.name), _NOBODY)

    async def _found(self, place: Place) -> Found | None:
        own = FileRef(place.file.type, posixpath.join(place.file.subfolder, place.file.filename))
        for worker in place.workers:
            try:
                stat = await self._worker_files.stat(worker.url, own)
            except WorkerError:
                continue
            return Found(worker.url, own, stat) if stat else None
        return None


def _is_everywhere(place: Place, ref: FileRef) -> bool:
    """Workers that share one disk know it by the very name that the farm has."""
    return place.file.filename == ref.name


async def _blameless(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """What its worker fails at is not laid to the one that it is sent to."""
    try:
        async for chunk in chunks:
            yield chunk
    except WorkerError as error:
        raise NotFound(str(error)) from error
