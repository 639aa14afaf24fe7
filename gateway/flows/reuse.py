"""Files that prompts wrote, as inputs of others: found by their farm-wide name, or as the caller's newest of the name
that its worker gave it; in the farm's own copy if it keeps one, else on the worker that wrote them."""

from __future__ import annotations

import posixpath
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.domain.callers import NOBODY, Caller
from gateway.domain.errors import NotFound, NoWorker, WorkerError
from gateway.domain.files import WRITTEN, OutputFile
from gateway.domain.files.index import Kept
from gateway.domain.files.refs import FileRef
from gateway.domain.ids import WorkerName
from gateway.domain.ports.blobs import Blobs
from gateway.domain.ports.worker_files import Stat, WorkerFiles
from gateway.flows.outputs import Outputs, Place


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


@dataclass(frozen=True, slots=True)
class Reused:
    found: Found
    bare: bool
    """Named as its worker calls it: other workers may call other files so."""
    homes: frozenset[WorkerName]
    """Workers that have it under their own name for it."""


class Reuse:
    def __init__(self, outputs: Outputs, worker_files: WorkerFiles, copies: Blobs) -> None:
        """`copies` are those that `keep_outputs` makes."""
        self._outputs = outputs
        self._worker_files = worker_files
        self._copies = copies

    async def knows(self, ref: FileRef) -> bool:
        """Whether it is a file of the farm. Raises NoWorker when that cannot be told at the moment."""
        place = await self._place(ref, NOBODY)
        return place is not None and (self._is_everywhere(ref) or await self._found(place) is not None)

    async def find(self, ref: FileRef, caller: Caller) -> Reused | None:
        """None for what is gone, for what a worker has that is away, and for what is on a disk that all share."""
        try:
            place = await self._place(ref, caller)
        except NoWorker:
            return None
        if place is None or self._is_everywhere(ref) or (found := await self._found(place)) is None:
            return None
        return Reused(found, place.name != ref.name, frozenset(worker.name for worker in place.workers))

    def is_bare(self, ref: FileRef) -> bool:
        """Whether it is no name of the farm, but one that each worker may have given to a file of its own."""
        return ref.type in WRITTEN and not self._is_everywhere(ref) and not self._outputs.is_named(ref.name)

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

    async def _place(self, ref: FileRef, caller: Caller) -> Place | None:
        if ref.type not in WRITTEN:
            return None
        return await self._outputs.find(OutputFile(ref.type, ref.subfolder, ref.name), caller)

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
