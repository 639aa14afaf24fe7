"""Bringing the files that a prompt names to the worker that is about to run it, and only there.

What a worker was sent is on record with the ETag that its own /view gave then. Before each post it is asked for that
ETag again, which costs no bytes: a worker that began anew, or whose files somebody else changed, is so found out.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from gateway.domain.callers import Caller
from gateway.domain.errors import (
    BlobsUnavailable,
    GatewayError,
    NotFound,
    WorkerError,
    WorkerRejected,
    WorkerSilent,
)
from gateway.domain.files import WRITTEN
from gateway.domain.files.refs import FileRef, of_value
from gateway.domain.ids import WorkerName
from gateway.domain.ports import Recorder
from gateway.domain.ports.blobs import Blobs
from gateway.domain.ports.inputs import InputStore, Sent
from gateway.domain.ports.worker_files import Stat, WorkerFiles
from gateway.domain.transfers import patience
from gateway.domain.workers import Worker
from gateway.flows.elsewhere import Elsewhere
from gateway.flows.mirror import Mirror
from gateway.flows.reuse import Reuse
from gateway.flows.sharing import Tasks

log = logging.getLogger(__name__)

_TRIES = 2
_PAUSE = 0.5
_AT_ONCE = 4
"""Files on their way to one worker at a time, from one gateway."""


class Stage(Protocol):
    async def stage(self, worker: Worker, refs: Collection[FileRef], caller: Caller) -> None:
        """Return when the worker has all of these that anybody has; outputs by their workers' own names are the
        caller's.

        Raises WorkerRefused or WorkerSilent when it cannot be reached, WorkerRejected when it does not take them,
        BlobsUnavailable when they cannot be read.
        """
        ...

    async def use(self, refs: Collection[FileRef]) -> None:
        """A prompt that names these is about to be taken in: they are not removed before it is seen to be there."""
        ...

    async def there(self, names: Iterable[str], caller: Caller) -> Mapping[str, bool]:
        """Which of these values of a graph name a file that the farm has, as far as it is known to have any."""
        ...

    async def taken(self, refs: Collection[FileRef], caller: Caller) -> Mapping[FileRef, frozenset[WorkerName] | None]:
        """Of those that are outputs by their workers' own names, the workers that call another file so, and None for
        what is no file of the caller's."""
        ...


class NoFiles:
    """Stage of a farm without files of its own: every worker has what it has."""

    async def stage(self, worker: Worker, refs: Collection[FileRef], caller: Caller) -> None:
        return

    async def use(self, refs: Collection[FileRef]) -> None:
        return

    async def there(self, names: Iterable[str], caller: Caller) -> Mapping[str, bool]:
        return {}

    async def taken(self, refs: Collection[FileRef], caller: Caller) -> Mapping[FileRef, frozenset[WorkerName] | None]:
        return {}


@dataclass(frozen=True, slots=True)
class _Source:
    digest: str
    size: int
    open: Callable[[], AbstractAsyncContextManager[AsyncIterator[bytes]]]
    bare: bool = False
    """Under this name the worker may have another file, which is to stay."""


class Staging:
    def __init__(
        self,
        mirror: Mirror,
        store: InputStore,
        blobs: Blobs,
        worker_files: WorkerFiles,
        elsewhere: Elsewhere,
        reuse: Reuse,
        tasks: Tasks,
        recorder: Recorder,
    ) -> None:
        self._mirror = mirror
        self._store = store
        self._blobs = blobs
        self._worker_files = worker_files
        self._elsewhere = elsewhere
        self._reuse = reuse
        self._tasks = tasks
        self._recorder = recorder
        self._slots: dict[WorkerName, asyncio.Semaphore] = {}
        self._under_way: dict[tuple[WorkerName, FileRef, str], asyncio.Task[bool | GatewayError]] = {}

    async def stage(self, worker: Worker, refs: Collection[FileRef], caller: Caller) -> None:
        if not refs:
            return
        await self._store.touch(list(refs))
        sent = await self._store.sent(worker.name, list(refs))
        bringing = (self._one(worker, ref, sent.get(ref), caller) for ref in refs)
        results = await asyncio.gather(*bringing, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def use(self, refs: Collection[FileRef]) -> None:
        await self._store.touch(list(refs))
        await self._mirror.fresh()

    async def there(self, names: Iterable[str], caller: Caller) -> Mapping[str, bool]:
        refs = {name: of_value(name) for name in names}
        known = await asyncio.gather(*(self._is_there(ref, caller) for ref in refs.values()))
        return dict(zip(refs, known, strict=True))

    async def taken(self, refs: Collection[FileRef], caller: Caller) -> Mapping[FileRef, frozenset[WorkerName] | None]:
        bare = [ref for ref in refs if self._reuse.is_bare(ref) and ref not in self._mirror.inputs]
        return dict(zip(bare, await asyncio.gather(*(self._taken(ref, caller) for ref in bare)), strict=True))

    async def _taken(self, ref: FileRef, caller: Caller) -> frozenset[WorkerName] | None:
        reused = await self._reuse.find(ref, caller)
        if reused is None:
            return None
        others = [w for w in self._mirror.workers.values() if w.answers and w.name not in reused.homes]
        able = await asyncio.gather(*(self._could_take(worker, ref, reused.found.digest) for worker in others))
        return frozenset(worker.name for worker, can in zip(others, able, strict=True) if not can)

    async def _could_take(self, worker: Worker, ref: FileRef, digest: str) -> bool:
        try:
            stat = await self._worker_files.stat(worker.url, ref)
        except WorkerError:
            return True  # as far as it can be told: what it has is looked at again before anything is sent
        sent = (await self._store.sent(worker.name, [ref])).get(ref) if stat else None
        return stat is None or sent == Sent(digest, stat.etag)

    async def _is_there(self, ref: FileRef | None, caller: Caller) -> bool:
        if ref is None:
            return False
        known = ref in self._mirror.inputs or self._elsewhere.listed(ref)
        return known or await self._reuse.find(ref, caller) is not None

    async def _one(self, worker: Worker, ref: FileRef, sent: Sent | None, caller: Caller) -> None:
        """What was written anew or removed in this moment is looked up once more; then its worker has the word."""
        for _ in range(2):
            source = await self._source(worker, ref, caller)
            if source is None or await self._shared(worker, ref, source, sent):
                return
            await self._mirror.fresh()

    async def _shared(self, worker: Worker, ref: FileRef, source: _Source, sent: Sent | None) -> bool:
        """One journey for all prompts that want the same; it goes on when one of them is given up."""
        key = (worker.name, ref, source.digest)
        if key not in self._under_way:
            task = self._tasks.start(self._tried(worker, ref, source, sent), f"stage {ref} on {worker.name}")
            self._under_way[key] = task
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        result = await asyncio.shield(self._under_way[key])
        if isinstance(result, GatewayError):
            raise result
        return result

    async def _tried(self, worker: Worker, ref: FileRef, source: _Source, sent: Sent | None) -> bool | GatewayError:
        """What goes wrong is for each that waits, and no failure of the task."""
        try:
            return await self._bring(worker, ref, source, sent)
        except GatewayError as error:
            self._recorder.not_staged(_reason(error))
            return error

    async def _source(self, worker: Worker, ref: FileRef, caller: Caller) -> _Source | None:
        """None when nobody has it, or only the worker itself."""
        if ref.type in WRITTEN and (reused := await self._reuse.find(ref, caller)) is not None:
            found = reused.found
            if reused.bare and worker.name in reused.homes:
                return None
            return _Source(found.digest, found.size, lambda: self._reuse.open(found), reused.bare)
        kept = self._mirror.inputs.get(ref)
        if kept is None and ref.type in WRITTEN:
            if self._reuse.is_bare(ref) and await self._worker_files.stat(worker.url, ref) is not None:
                raise _anothers(worker, ref)
            return None
        if (
            kept is None
            and await self._worker_files.stat(worker.url, ref) is None
            and await self._elsewhere.fetch(ref, worker)
        ):
            kept = self._mirror.inputs.get(ref)
        return None if kept is None else _Source(kept.digest, kept.size, lambda: self._blobs.open(kept.blob))

    async def _fetched(self, worker: Worker, ref: FileRef) -> bool:
        """Take it in from another worker, if this one lacks it."""
        return await self._worker_files.stat(worker.url, ref) is None and await self._elsewhere.fetch(ref, worker)

    async def _bring(self, worker: Worker, ref: FileRef, source: _Source, sent: Sent | None) -> bool:
        """Whether it is there now; False when there is nothing to send any more."""
        stat = await self._worker_files.stat(worker.url, ref)
        same = stat is not None and sent is not None and sent.etag == stat.etag
        if not (same and sent is not None and sent.digest == source.digest):
            if stat is not None and (source.bare or not same):
                _spare(worker, ref, source, stat)
            if not await self._send(worker, ref, source):
                return False
        self._mirror.transfers.there(worker.name, ref, source.digest)
        return True

    async def _send(self, worker: Worker, ref: FileRef, source: _Source) -> bool:
        async with self._slots.setdefault(worker.name, asyncio.Semaphore(_AT_ONCE)):
            began = time.perf_counter()
            if not await self._streamed(worker, ref, source):
                return False
            took = time.perf_counter() - began
        stat = await self._worker_files.stat(worker.url, ref)
        if stat is not None and stat.size != source.size:
            raise WorkerSilent(f"{worker.name} has {stat.size} bytes of {ref}, and not {source.size}")
        await self._store.note_sent(worker.name, ref, Sent(source.digest, stat.etag if stat else ""))
        self._mirror.transfers.sent(worker.name, source.size, took)
        self._recorder.staged(source.size, took)
        return True

    async def _streamed(self, worker: Worker, ref: FileRef, source: _Source) -> bool:
        """False when it is gone."""
        for left in reversed(range(_TRIES)):
            try:
                async with source.open() as chunks:
                    await self._worker_files.send(worker.url, ref, source.size, chunks, patience(source.size))
            except NotFound as error:
                log.warning("%s is gone: %s", ref, error)
                return False
            except BlobsUnavailable:
                if not left:
                    raise
                await asyncio.sleep(_PAUSE)
            else:
                return True
        return False


def _spare(worker: Worker, ref: FileRef, source: _Source, stat: Stat) -> None:
    """What a worker wrote is never written over. Names of the farm are no worker's own; nor is what has our size,
    of which we have only forgotten that it was sent, unless many workers write that name."""
    if source.bare or (ref.type in WRITTEN and "~" not in ref.name and stat.size != source.size):
        raise _anothers(worker, ref)


def _anothers(worker: Worker, ref: FileRef) -> WorkerRejected:
    text = f"Worker {worker.name} has a file of its own under the name {ref}.".encode()
    return WorkerRejected(409, text, "text/plain; charset=utf-8")


def _reason(error: GatewayError) -> str:
    """For the metric: who was to blame."""
    if isinstance(error, BlobsUnavailable):
        return "blobs"
    return "refused" if isinstance(error, WorkerRejected) else "worker away"
