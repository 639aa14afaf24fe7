"""Files that prompts wrote, as inputs of others: found by their farm-wide name, in the farm's own copy if it keeps one,
else on the worker that wrote them."""

from __future__ import annotations

import posixpath
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.domain.callers import Caller
from gateway.domain.errors import NotFound, NoWorker, WorkerError
from gateway.domain.files import WRITTEN, OutputFile
from gateway.domain.files.index import Kept
from gateway.domain.files.refs import FileRef
from gateway.domain.ports.blobs import Blobs
from gateway.domain.ports.worker_files import Stat, WorkerFiles
from gateway.flows.outputs import Outputs, Place

_NOBODY = Caller(None, "")
"""Names that only mean something to one caller are no names of the farm."""


@dataclass(frozen=True, slots=True)
class There:
    """On its worker, which knows it as `ref`."""

    url: str
    ref: FileRef
    stat: Stat

    @property
    def digest(self) -> str:
        """Stands for its bytes: no two files of the farm share it, and it is another when the file is written anew."""
        return f"{self.url} {self.stat.etag} {self.stat.size}"

    @property
    def size(self) -> int:
        return self.stat.size


Found = There | Kept


class Reuse:
    def __init__(self, outputs: Outputs, worker_files: WorkerFiles, copies: Blobs) -> None:
        """`copies` are those that `keep_outputs` makes."""
        self._outputs = outputs
        self._worker_files = worker_files
        self._copies = copies

    async def knows(self, ref: FileRef) -> bool:
        """Whether it is a file of the farm. Raises NoWorker when that cannot be told at the moment."""
        place = await self._place(ref)
        return place is not None and (self._is_everywhere(ref) or await self._found(place) is not None)

    async def find(self, ref: FileRef) -> Found | None:
        """None for what is gone, for what a worker has that is away, and for what is on a disk that all share."""
        try:
            place = await self._place(ref)
        except NoWorker:
            return None
        return None if place is None or self._is_everywhere(ref) else await self._found(place)

    @asynccontextmanager
    async def open(self, found: Found) -> AsyncIterator[AsyncIterator[bytes]]:
        """Raises NotFound, also when its worker went away meanwhile."""
        if isinstance(found, Kept):
            async with self._copies.open(found.blob) as chunks:
                yield chunks
            return
        try:
            async with self._worker_files.open(found.url, found.ref) as opened:
                yield _blameless(opened.chunks)
        except WorkerError as error:
            raise NotFound(f"{found.ref} cannot be read: {error}") from error

    async def _place(self, ref: FileRef) -> Place | None:
        if ref.type not in WRITTEN:
            return None
        return await self._outputs.find(OutputFile(ref.type, ref.subfolder, ref.name), _NOBODY)

    def _is_everywhere(self, ref: FileRef) -> bool:
        """Workers that share one disk know it by the very name that the farm has."""
        return self._outputs.shared and ref.type == "output"

    async def _found(self, place: Place) -> Found | None:
        if place.kept is not None:
            return place.kept
        own = FileRef(place.file.type, posixpath.join(place.file.subfolder, place.file.filename))
        for worker in place.workers:
            try:
                stat = await self._worker_files.stat(worker.url, own)
            except WorkerError:
                continue
            return There(worker.url, own, stat) if stat else None
        return None


async def _blameless(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """What its worker fails at is not laid to the one that it is sent to."""
    try:
        async for chunk in chunks:
            yield chunk
    except WorkerError as error:
        raise NotFound(str(error)) from error
