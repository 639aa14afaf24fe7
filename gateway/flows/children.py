"""Prompts that a node put on its own worker while one of ours ran there, as VHS's meta batch does.

They carry a copy of our extra_data, belong to the same client, and are shown like any other. While they last,
nothing else goes to that worker.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from gateway.domain import posting
from gateway.domain.ids import AttemptId, PromptId
from gateway.domain.jobs import Job
from gateway.domain.ports import Comfy, JobStore, NewPrompt, QueueItem, WorkerQueue
from gateway.domain.workers import Worker
from gateway.flows.mirror import Mirror

_NEWEST = 20
"""How many of a worker's last records are read where its events were not heard."""


@dataclass(frozen=True, slots=True)
class Children:
    store: JobStore
    comfy: Comfy
    mirror: Mirror

    async def adopt(
        self,
        worker: Worker,
        heard: Collection[str] = (),
        queue: WorkerQueue | None = None,
        after: AttemptId | None = None,
    ) -> None:
        """Take in what is on this worker and descends from a prompt of ours.

        `heard` are ids that its events named and nobody knows: those may have ended already. So may all that were
        put there by an attempt whose worker was not heard: `after` is that attempt, which has ended before them.
        `queue` is what the worker has, if that was just read.
        """
        queue = queue or await self.comfy.queue(worker.url)
        found = {**queue.running, **queue.pending}
        for id in [id for id in heard if id not in found]:
            if (record := await self.comfy.history(worker.url, id)) is not None:
                found[id] = _item(record)
        if after is not None:
            ended = [*(await self.comfy.newest(worker.url, _NEWEST)).items()]
            place = next((at for at, (id, _) in enumerate(ended) if id == after), -1)
            found = {**{id: _item(record) for id, record in ended[place + 1 :]}, **found}
        known = {attempt.id for _, attempt in self.mirror.on(worker.name)}
        news = {id: item for id, item in found.items() if id not in known and not self._is_attempt(item, id)}
        if not news:
            return
        buried = await self.store.buried(worker.name)
        for id, item in news.items():
            of = posting.parent_of(item.extra_data)
            parent = None if of is None else self.mirror.jobs.get(of)
            if parent is not None and id not in buried:
                await self.store.adopt(_child(PromptId(id), item, parent), worker.name)
        await self.mirror.fresh()

    def _is_attempt(self, item: QueueItem, id: str) -> bool:
        """An attempt of ours that the mirror has not heard of yet says itself which one it is."""
        ours = item.extra_data.get(posting.OURS)
        return isinstance(ours, dict) and ours.get("attempt_id") == id


def _item(record: dict[str, Any]) -> QueueItem:
    _, _, graph, extra_data, outputs, *_ = record["prompt"]
    return QueueItem(graph, extra_data, outputs)


def _child(id: PromptId, item: QueueItem, parent: Job) -> NewPrompt:
    extra_data, secrets = posting.split_secrets(item.extra_data)
    extra_data = {key: value for key, value in extra_data.items() if key not in (posting.OURS, "client_id")}
    shown = {**extra_data, **({"client_id": parent.client_id} if parent.client_id else {})}
    return NewPrompt(
        id=id,
        digest=hashlib.sha256(json.dumps(item.graph, sort_keys=True).encode()).hexdigest(),
        number="auto",
        client_id=parent.client_id,
        peer=parent.peer,
        demand=parent.demand,
        body=json.dumps({"prompt": item.graph, "extra_data": extra_data}).encode(),
        tail=posting.queue_tail(id, item.graph, shown, item.outputs),
        secrets=secrets,
        priority=parent.priority,
        work=replace(parent.work, parts=()),
    )
