"""The farm's /object_info, built anew in the background when a worker's changes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.domain.bodies import Body, json_body
from gateway.domain.catalogue import Catalogue
from gateway.domain.errors import NoWorker
from gateway.domain.union import merge
from gateway.flows.flights import Flights
from gateway.flows.worker_reads import WorkerReads


@dataclass(frozen=True, slots=True)
class _Edition:
    digests: tuple[str, ...]
    """Of what it was built from."""
    classes: Mapping[str, Mapping[str, Any]]
    body: Body
    single: dict[str, Body] = field(default_factory=dict)
    """Answers for one class, made when first asked for."""


class United:
    """Answers from the last edition, though a newer one may be under way."""

    def __init__(self, reads: WorkerReads, flights: Flights, first: float) -> None:
        self._reads = reads
        self._flights = flights
        self._first = first
        self._edition: _Edition | None = None
        self._built = asyncio.Event()

    def refresh(self) -> None:
        """Start a new edition if some worker's catalogue is another than in the last; returns at once."""
        catalogues = [w.catalogue for w in self._reads.workers() if w.catalogue is not None]
        digests = tuple(dict.fromkeys(one.digest for one in catalogues))
        if digests and (self._edition is None or self._edition.digests != digests):
            self._flights.start("object_info", lambda: self._build(digests, catalogues))

    async def all(self) -> Body:
        """GET /object_info."""
        return (await self._latest()).body

    async def one(self, name: str) -> Body:
        """GET /object_info/{class}; `{}` for a class that no worker has."""
        edition = await self._latest()
        if name not in edition.classes:
            return json_body({})
        if name not in edition.single:
            edition.single[name] = await asyncio.to_thread(json_body, {name: edition.classes[name]})
        return edition.single[name]

    async def _latest(self) -> _Edition:
        self.refresh()
        if self._edition is None:
            try:
                async with asyncio.timeout(self._first):
                    await self._built.wait()
            except TimeoutError:
                raise NoWorker("no worker has told its nodes yet") from None
        assert self._edition is not None
        return self._edition

    async def _build(self, digests: tuple[str, ...], catalogues: Sequence[Catalogue]) -> None:
        self._edition = await asyncio.to_thread(_edition, digests, catalogues)
        self._built.set()


def _edition(digests: tuple[str, ...], catalogues: Sequence[Catalogue]) -> _Edition:
    classes = merge(catalogues)
    return _Edition(digests, classes, json_body(classes))
