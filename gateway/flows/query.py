"""The reading side: queue, history and jobs, answered from the mirror and costing no worker anything.

Each method first makes sure that the mirror is as new as the request. Answers are kept serialised for as long as
nothing changed.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from gateway.domain import records
from gateway.domain.ids import PromptId
from gateway.domain.jobs import Assigned, Ended, Job, Queued
from gateway.domain.listing import JobFilter, page
from gateway.domain.ports import JobStore
from gateway.flows.mirror import Mirror, by_number


class Query:
    def __init__(self, mirror: Mirror, records: RecordCache) -> None:
        self._mirror = mirror
        self._records = records
        self._queue: tuple[int, bytes] = (-1, b"")
        self._summaries: dict[PromptId, tuple[bytes, dict[str, Any]]] = {}

    async def remaining(self) -> int:
        """Prompts that wait or run in the whole farm."""
        await self._mirror.fresh()
        return len(self._mirror.live)

    async def queue(self) -> bytes:
        """The body of GET /queue."""
        await self._mirror.fresh()
        version, body = self._queue
        if version != self._mirror.version:
            body = self._queue_body()
            self._queue = (self._mirror.version, body)
        return body

    async def history(self, max_items: int | None, offset: int | None) -> bytes:
        """The body of GET /history: keyed by prompt_id, the oldest first (contract 1.1 on the two numbers)."""
        await self._mirror.fresh()
        return await self._history_body(chosen(self._mirror.history, max_items, offset))

    async def history_of(self, id: PromptId) -> bytes:
        """The body of GET /history/{id}; `{}` for what is unknown or has not ended."""
        await self._mirror.fresh()
        job = self._mirror.jobs.get(id)
        if job is None or not isinstance(job.state, Ended):
            return b"{}"
        record = self._records.kept(id)
        return await self._history_body([id]) if record is None else b"{%b: %b}" % (_key(id), record)

    async def jobs(self, wanted: JobFilter) -> dict[str, Any]:
        """The answer of GET /api/jobs."""
        await self._mirror.fresh()
        return page(
            [self._summary(self._mirror.jobs[id]) for id in (*self._mirror.live, *self._mirror.history)], wanted
        )

    async def job(self, id: PromptId) -> dict[str, Any] | None:
        """The answer of GET /api/jobs/{id}; None when nobody knows it."""
        await self._mirror.fresh()
        job = self._mirror.jobs.get(id)
        if job is None or id in self._mirror.accepted:
            return None
        if not isinstance(job.state, Ended):
            return self._summary(job)
        found = await self._records.get([id])
        return records.detail(self._summary(job), json.loads(found[id])) if id in found else None

    def _queue_body(self) -> bytes:
        running: list[bytes] = []
        pending: list[bytes] = []
        for job in by_number(self._mirror.live.values()):
            (pending if self._is_pending(job) else running).append(job.item())
        return b'{"queue_running": [' + b", ".join(running) + b'], "queue_pending": [' + b", ".join(pending) + b"]}"

    def _is_pending(self, job: Job) -> bool:
        """Waiting here, or on a worker behind prompts of others."""
        if isinstance(job.state, Assigned):
            worker = self._mirror.workers.get(job.state.worker)
            return worker is not None and worker.foreign > 0
        return isinstance(job.state, Queued)

    def _parsed(self, id: PromptId, summary: bytes) -> dict[str, Any]:
        """Browsers ask for the list after every status: what has ended is parsed once."""
        known = self._summaries.get(id)
        if known is None or known[0] is not summary:
            if len(self._summaries) > 2 * self._mirror.ended + 100:
                self._summaries.clear()
            known = self._summaries[id] = (summary, json.loads(summary))
        return known[1]

    async def _history_body(self, ids: Sequence[PromptId]) -> bytes:
        found = await self._records.get(ids)
        rows = [_key(id) + b": " + found[id] for id in ids if id in found]
        return b"{" + b", ".join(rows) + b"}"

    def _summary(self, job: Job) -> dict[str, Any]:
        if isinstance(job.state, Ended):
            return self._parsed(job.id, job.state.summary)
        return records.waiting_summary(job, "pending" if self._is_pending(job) else "in_progress")


class RecordCache:
    """History records as JSON bytes: they never change, so the last used ones stay, up to a number of bytes."""

    def __init__(self, store: JobStore, limit: int) -> None:
        self._store = store
        self._limit = limit
        self._size = 0
        self._kept: OrderedDict[PromptId, bytes] = OrderedDict()

    def kept(self, id: PromptId) -> bytes | None:
        """Its record, if that is at hand."""
        record = self._kept.get(id)
        if record is not None:
            self._kept.move_to_end(id)
        return record

    async def get(self, ids: Sequence[PromptId]) -> dict[PromptId, bytes]:
        """Those of `ids` that have a record."""
        missing = [id for id in ids if id not in self._kept]
        found = {id: self._kept[id] for id in ids if id in self._kept}
        for id in found:
            self._kept.move_to_end(id)
        for id, raw in zip(missing, await self._store.records(missing), strict=True):
            if raw is not None:
                found[id] = raw
                self._keep(id, raw)
        return found

    def _keep(self, id: PromptId, raw: bytes) -> None:
        self._size += len(raw) - len(self._kept.pop(id, b""))
        self._kept[id] = raw
        while self._size > self._limit and self._kept:
            self._size -= len(self._kept.popitem(last=False)[1])


@lru_cache(maxsize=4096)
def _key(id: PromptId) -> bytes:
    return json.dumps(id).encode()


def chosen(ids: Sequence[PromptId], max_items: int | None, offset: int | None) -> Sequence[PromptId]:
    """What ComfyUI's PromptQueue.get_history makes of the two numbers; without an offset the newest."""
    if max_items is None:
        return ids[max(0, offset or 0) :]
    if offset is None or offset < 0:
        return ids[max(0, len(ids) - max_items) :][: max(0, max_items)]
    return ids[offset : offset + max(1, max_items)]  # its loop counts after it has added one
