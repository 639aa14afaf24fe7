"""The core of one replica over a real state: its mirror, and what it writes with. No loops run."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.domain.placement import POLICIES, Placement
from gateway.flows.catalogues import Catalogues
from gateway.flows.mirror import Mirror
from tests.adapters.stores import Store, opened


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
