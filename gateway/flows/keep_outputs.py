"""Copies of outputs that outlive their worker: made when a prompt ends, before its end is told.

A copy that fails costs no prompt: it is tried again, and then the prompt ends without it, which is logged and counted.
"""

from __future__ import annotations

import asyncio
import logging
import posixpath
import time
from collections.abc import Mapping
from typing import Protocol

from gateway.domain.errors import BlobsUnavailable, NotFound, WorkerError
from gateway.domain.files import OutputFile
from gateway.domain.files.index import Kept
from gateway.domain.files.refs import FileRef
from gateway.domain.ids import AttemptId
from gateway.domain.ports import Recorder
from gateway.domain.ports.blobs import Blobs
from gateway.domain.ports.outputs import OutputStore
from gateway.domain.ports.worker_files import WorkerFiles
from gateway.domain.workers import Worker
from gateway.flows.sharing import Tasks

log = logging.getLogger(__name__)

_TRIES = 3
_PAUSE = 0.5
_WITHIN = 1800.0
_AT_ONCE = 8
"""Files that are copied at a time, in one gateway."""
_LOOK = 1.0
_SWEPT = 100


class Keeps(Protocol):
    async def copied(self, attempt: AttemptId, worker: Worker, files: Mapping[OutputFile, OutputFile]) -> bool:
        """Whether these are copied, as far as they can be; to be asked again until they are. `files` are names on the
        worker, and in the farm."""
        ...

    async def find(self, file: OutputFile) -> Kept | None: ...


class KeepsNothing:
    async def copied(self, attempt: AttemptId, worker: Worker, files: Mapping[OutputFile, OutputFile]) -> bool:
        return True

    async def find(self, file: OutputFile) -> Kept | None:
        return None


class KeepOutputs:
    def __init__(
        self, store: OutputStore, blobs: Blobs, worker_files: WorkerFiles, tasks: Tasks, recorder: Recorder
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._worker_files = worker_files
        self._tasks = tasks
        self._recorder = recorder
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._under_way: dict[AttemptId, asyncio.Task[None]] = {}

    async def copied(self, attempt: AttemptId, worker: Worker, files: Mapping[OutputFile, OutputFile]) -> bool:
        """Waits a moment only: whoever watches a worker has more to watch than this."""
        if not files and attempt not in self._under_way:
            return True
        task = self._under_way.get(attempt)
        if task is None:
            task = self._under_way[attempt] = self._tasks.start(self._copy_all(worker, files), f"keep {attempt}")
        await asyncio.wait({task}, timeout=_LOOK)
        if not task.done():
            return False
        del self._under_way[attempt]
        return True

    async def find(self, file: OutputFile) -> Kept | None:
        return await self._store.find(file)

    async def tick(self) -> None:
        """Delete what no record names any more."""
        blobs = await self._store.expired(_SWEPT)
        for blob in blobs:
            await self._blobs.delete(blob)
        await self._store.forget(blobs)

    async def _copy_all(self, worker: Worker, files: Mapping[OutputFile, OutputFile]) -> None:
        await asyncio.gather(*(self._copy(worker, own, name) for own, name in files.items()))

    async def _copy(self, worker: Worker, own: OutputFile, name: OutputFile) -> None:
        for left in reversed(range(_TRIES)):
            try:
                async with self._slots, asyncio.timeout(_WITHIN):
                    await self._copy_once(worker, own, name)
            except (WorkerError, BlobsUnavailable, NotFound, TimeoutError) as error:
                if left and not isinstance(error, NotFound):
                    await asyncio.sleep(_PAUSE)
                    continue
                log.warning("output %s of %s is not kept: %s", own.filename, worker.name, error)
                self._recorder.not_kept()
            return

    async def _copy_once(self, worker: Worker, own: OutputFile, name: OutputFile) -> None:
        ref = FileRef(own.type, posixpath.join(own.subfolder, own.filename))
        known = await self._store.find(name)
        async with self._worker_files.open(worker.url, ref) as opened:
            if known is not None and known.digest == opened.stat.etag != "":
                await self._store.keep(name, known)  # a saver that was answered from its cache: kept for longer
                return
            blob = await self._blobs.put(opened.chunks, name.filename)
            await self._store.keep(name, Kept(blob.key, opened.stat.etag or blob.digest, blob.size, time.time()))
