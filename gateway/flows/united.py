"""The farm's /object_info: built anew in the background when a worker's changes, at once when a file was uploaded."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.domain.bodies import Body, body, json_body
from gateway.domain.catalogue import Catalogue, NodeClass
from gateway.domain.errors import NoWorker
from gateway.domain.files.index import FileIndex, Lists
from gateway.domain.files.listing import lists_files, with_files
from gateway.domain.union import unite
from gateway.flows.flights import Flights
from gateway.flows.worker_reads import WorkerReads

_NOBODY = 1.0
"""Seconds for a first answer while there is no worker to wait for: one may be added in this moment."""


class FarmFiles(Protocol):
    """What the lists of loaders need to know of uploaded files."""

    @property
    def inputs(self) -> FileIndex: ...

    async def fresh(self) -> None:
        """Return when `inputs` is no older than this call."""
        ...


class NoFarmFiles:
    """Of a farm that keeps none."""

    def __init__(self) -> None:
        self.inputs = FileIndex()

    async def fresh(self) -> None:
        return


@dataclass(frozen=True, slots=True)
class _Base:
    """What workers told, without the farm's files."""

    digests: tuple[str, ...]
    classes: Mapping[str, NodeClass]
    texts: Mapping[str, bytes]
    """Each class as JSON, but for those that list files."""


@dataclass(frozen=True, slots=True)
class _Edition:
    base: _Base
    version: int
    """Of the file index."""
    listing: Mapping[str, Mapping[str, Any]]
    """The classes that list files."""
    body: Body
    single: dict[str, Body] = field(default_factory=dict)
    """Answers for one class, made when first asked for."""

    def entry(self, name: str) -> Mapping[str, Any] | None:
        node = self.base.classes.get(name)
        return self.listing.get(name) or (node.info if node is not None else None)


class United:
    """Answers from the last edition, though one of newer nodes may be under way. Files show at once."""

    def __init__(self, reads: WorkerReads, flights: Flights, first: float, files: FarmFiles) -> None:
        self._reads = reads
        self._flights = flights
        self._first = first
        self._files = files
        self._edition: _Edition | None = None
        self._built = asyncio.Event()

    def refresh(self) -> None:
        """Start a new edition if some worker's catalogue, or a file, is another than in the last; returns at once."""
        self._start()

    async def all(self) -> Body:
        """GET /object_info."""
        return (await self._latest()).body

    async def one(self, name: str) -> Body:
        """GET /object_info/{class}; `{}` for a class that no worker has."""
        edition = await self._latest()
        entry = edition.entry(name)
        if entry is None:
            return json_body({})
        if name not in edition.single:
            edition.single[name] = await asyncio.to_thread(json_body, {name: entry})
        return edition.single[name]

    async def _latest(self) -> _Edition:
        await self._files.fresh()
        wanted = self._files.inputs.version
        building = self._start()
        if self._edition is None:
            began = time.monotonic()
            if not await self._built_within(min(_NOBODY, self._first)):
                rest = self._first - (time.monotonic() - began) if self._reads.workers() else 0.0
                if not await self._built_within(rest):
                    raise NoWorker("no worker has told its nodes yet")
        assert self._edition is not None
        while self._edition.version < wanted and building is not None:
            await asyncio.shield(building)
            building = self._start()
        return self._edition

    async def _built_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self._built.wait()
        return self._built.is_set()

    def _start(self) -> asyncio.Task[Any] | None:
        catalogues = [w.catalogue for w in self._reads.workers() if w.catalogue is not None]
        digests = tuple(dict.fromkeys(one.digest for one in catalogues))
        last = self._edition
        if not digests or (last is not None and last.base.digests == digests and self._is_current(last)):
            return None
        return self._flights.start("object_info", lambda: self._build(digests, catalogues))

    def _is_current(self, edition: _Edition) -> bool:
        return edition.version == self._files.inputs.version

    async def _build(self, digests: tuple[str, ...], catalogues: Sequence[Catalogue]) -> None:
        last = self._edition
        if last is not None and last.base.digests == digests:
            base = last.base
        else:
            base = await asyncio.to_thread(_base, digests, catalogues)
        version, lists = self._files.inputs.version, self._files.inputs.lists()
        self._edition = await asyncio.to_thread(_edition, base, version, lists)
        self._built.set()


def _base(digests: tuple[str, ...], catalogues: Sequence[Catalogue]) -> _Base:
    classes = unite(catalogues)
    texts = {name: json.dumps(node.info).encode() for name, node in classes.items() if not lists_files(node)}
    return _Base(digests, classes, texts)


def _edition(base: _Base, version: int, lists: Lists) -> _Edition:
    listing = {name: with_files(node, lists) for name, node in base.classes.items() if name not in base.texts}
    pairs = (
        json.dumps(name).encode() + b": " + (base.texts.get(name) or json.dumps(listing[name]).encode())
        for name in base.classes
    )
    return _Edition(base, version, listing, body(b"{" + b", ".join(pairs) + b"}"))
