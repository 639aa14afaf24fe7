"""Interrupt, delete, cancel, clear, free: each finds the prompt that is meant, wherever it is, and no other.

Without an id the caller's own are meant (DESIGN invariant 18): those of its client_id if it gave one, else those
that came from its address.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence

from gateway.domain.callers import Caller
from gateway.domain.errors import WorkerError
from gateway.domain.ids import PromptId
from gateway.domain.jobs import Assigned, Attempt, Job, Queued, Running
from gateway.domain.ports import Comfy, FarmStore, JobStore
from gateway.flows.attempts import Attempts, Place
from gateway.flows.mirror import Mirror, until

log = logging.getLogger(__name__)

_BATCH = 32
_POSTING = 5.0
"""Seconds that a delete waits for a prompt that is just being posted."""


class Control:
    def __init__(self, store: JobStore, farm: FarmStore, comfy: Comfy, mirror: Mirror, attempts: Attempts) -> None:
        self._farm = farm
        self._store = store
        self._comfy = comfy
        self._mirror = mirror
        self._attempts = attempts

    async def interrupt(self, id: PromptId) -> bool:
        """Interrupt a prompt that is on a worker; whether it was. One that is being posted is caught after."""
        found = await self._store.interrupt(id)
        if found is None:
            return False
        worker = self._mirror.workers.get(found.attempt.worker)
        if found.posted and worker is not None:
            try:
                await self._attempts.take_back(worker, found.attempt.id)
            except WorkerError as error:
                log.warning("prompt %s: to be interrupted when %s answers: %s", id, worker.name, error)
        return True

    async def interrupt_own(self, caller: Caller) -> None:
        await self._mirror.fresh()
        running = [job.id for job in self._mirror.live.values() if _on_worker(job) and _is_of(job, caller)]
        await asyncio.gather(*(self.interrupt(id) for id in running))

    async def delete(self, id: PromptId) -> bool:
        """Take a waiting prompt back; whether it waited. One that runs goes on, as in ComfyUI."""
        if await self._store.cancel(id):
            return True
        await self._mirror.fresh()
        job = self._mirror.live.get(id)
        return job is not None and isinstance(job.state, Assigned) and await self._pull_back(job)

    async def delete_own(self, caller: Caller) -> None:
        await self._mirror.fresh()
        waiting = [
            job.id for job in self._mirror.live.values() if isinstance(job.state, Queued) and _is_of(job, caller)
        ]
        await in_batches(self._store.cancel, list(reversed(waiting)))

    async def cancel(self, ids: Sequence[PromptId]) -> bool:
        """Delete those that wait, interrupt those that run; whether there was one (contract 1.2)."""
        await self._mirror.fresh()
        return any(await in_batches(self._cancel, ids))

    async def _cancel(self, id: PromptId) -> bool:
        return await self.delete(id) or await self.interrupt(id)

    async def forget(self, ids: Iterable[PromptId]) -> None:
        await in_batches(self._store.forget, list(ids))

    async def forget_own(self, caller: Caller) -> None:
        await self._mirror.fresh()
        await self.forget([id for id in self._mirror.history if _is_of(self._mirror.jobs[id], caller)])

    async def free(self, body: bytes) -> None:
        """POST /free on every worker that answers."""
        nodes = b"free_memory" in body  # perhaps as false: to expect too little of a cache costs little
        workers = [worker for worker in self._mirror.workers.values() if worker.answers]
        told = await asyncio.gather(*(self._comfy.free(w.url, body) for w in workers), return_exceptions=True)
        for worker, error in zip(workers, told, strict=True):
            await self._farm.emptied(worker.name, nodes=nodes)
            if isinstance(error, BaseException):
                log.warning("worker %s was not told to free its memory: %r", worker.name, error)

    async def _pull_back(self, job: Job) -> bool:
        """On a worker, but perhaps not running yet: then out of that worker's queue, and gone."""

        def settled() -> bool:
            now = self._mirror.live.get(job.id)
            return now is None or not isinstance(now.state, Assigned) or now.state.posted

        await until(self._mirror, settled, _POSTING)
        now = self._mirror.live.get(job.id)
        if now is None or not isinstance(now.state, Assigned) or not now.state.posted:
            return await self._store.cancel(job.id)
        worker = self._mirror.workers.get(now.state.worker)
        if worker is None or await self._attempts.whereabouts(worker, now.state.attempt) is not Place.PENDING:
            return False
        await self._comfy.dequeue(worker.url, now.state.attempt)
        if await self._attempts.whereabouts(worker, now.state.attempt) is not Place.ABSENT:
            return False
        await self._attempts.requeue(job, Attempt(job.id, worker.name, now.state.attempt))
        return await self._store.cancel(job.id)


async def in_batches(step: Callable[[PromptId], Awaitable[bool]], ids: Sequence[PromptId]) -> list[bool]:
    """One step for each, some at a time: ten thousand must neither take a minute nor flood the store."""
    done: list[bool] = []
    for start in range(0, len(ids), _BATCH):
        done += await asyncio.gather(*(step(id) for id in ids[start : start + _BATCH]))
    return done


def _on_worker(job: Job) -> bool:
    return isinstance(job.state, Assigned | Running)


def _is_of(job: Job, caller: Caller) -> bool:
    return job.client_id == caller.client_id if caller.client_id else job.peer == caller.peer
