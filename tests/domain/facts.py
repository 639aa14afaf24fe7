"""Prompts and workers for tests, with whatever a test does not care about filled in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.domain.demand import Demand
from gateway.domain.ids import ClientId, PromptId, WorkerName
from gateway.domain.jobs import Job, Queued, State
from gateway.domain.posting import queue_tail

ANYWHERE = Demand(frozenset(), frozenset(), frozenset())


def names(*texts: str) -> frozenset[WorkerName]:
    return frozenset(map(WorkerName, texts))


def job(
    id: str = "p-1",
    *,
    state: State | None = None,
    number: str = "7",
    client_id: str | None = "client",
    graph: Mapping[str, Any] | None = None,
    extra_data: Mapping[str, Any] | None = None,
    outputs: tuple[str, ...] = ("3",),
    created_at: float = 1000.5,
    **more: Any,
) -> Job:
    """`extra_data` is what one ComfyUI would show, its client_id put in like there."""
    shown = {**(extra_data or {}), **({"client_id": client_id} if client_id else {})}
    return Job(
        id=PromptId(id),
        state=state or Queued(),
        number=number,
        seq=1,
        client_id=ClientId(client_id) if client_id else None,
        peer="10.0.0.1",
        demand=ANYWHERE,
        created_at=created_at,
        tail=queue_tail(PromptId(id), graph or {}, shown, outputs),
        **more,
    )
