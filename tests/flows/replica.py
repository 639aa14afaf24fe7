"""The core of one replica over a real state: its mirror, and what it writes with. No loops run."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from gateway.domain.ids import WorkerName
from gateway.domain.jobs import Attempt
from gateway.domain.placement import POLICIES, Placement
from gateway.domain.ports import Won, WorkerEntry
from gateway.flows.catalogues import Catalogues
from gateway.flows.mirror import Mirror
from gateway.flows.watch import Watch
from tests.adapters.stores import ROOM, Store, attempt, new, opened
from tests.farm import picture
from tests.scripted import Scripted


@dataclass(frozen=True, slots=True)
class Replica:
    store: Store
    catalogues: Catalogues
    placement: Placement
    mirror: Mirror


@asynccontextmanager
async def replica(url: str, name: str = "r1") -> AsyncIterator[Replica]:
    async with opened(url, replica=name) as store:
        catalogues = Catalogues(store.farm)
        placement = Placement(POLICIES["expected-completion"](random.Random(1)))
        yield Replica(store, catalogues, placement, Mirror(store.feed, store.farm, catalogues, placement))


async def given(core: Replica, worker: Scripted) -> Attempt:
    """That of the prompt `p`, which this worker, the farm's `w0`, was posted and runs."""
    tried = attempt("p", WorkerName("w0"))
    await core.store.farm.put(WorkerEntry(tried.worker, worker.url))
    await core.store.jobs.accept(new("p"), ROOM)
    assert isinstance(await core.store.jobs.claim(tried, "{}"), Won)
    await core.store.jobs.posted(tried, tried.id, {})
    worker.take({"prompt": picture(), "prompt_id": tried.id})
    await core.mirror.fresh()
    return tried


def watching(core: Replica, comfy: Any, now: list[float]) -> Watch:
    """By a clock that is at `now[0]`, and without what gives prompts up or takes children in."""
    nobody: Any = None
    return Watch(core.store.jobs, comfy, core.mirror, nobody, nobody, nobody, 1.0, lambda: now[0])
