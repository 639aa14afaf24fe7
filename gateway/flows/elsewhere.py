"""Files that only some worker's own disk has: found, and taken into the farm when another needs them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from gateway.domain.catalogue import NodeClass
from gateway.domain.errors import GatewayError, NotFound, WorkerError
from gateway.domain.files.index import Naming
from gateway.domain.files.refs import FileRef, annotated
from gateway.domain.ports.blobs import Blobs
from gateway.domain.ports.inputs import InputStore, Sent
from gateway.domain.ports.worker_files import WorkerFiles
from gateway.domain.workers import Worker
from gateway.flows.catalogues import Catalogues
from gateway.flows.mirror import Mirror

log = logging.getLogger(__name__)

_SAYS_WITHIN = 5.0


class Elsewhere:
    def __init__(
        self, mirror: Mirror, catalogues: Catalogues, store: InputStore, blobs: Blobs, worker_files: WorkerFiles
    ) -> None:
        self._mirror = mirror
        self._catalogues = catalogues
        self._store = store
        self._blobs = blobs
        self._worker_files = worker_files
        self._listed: tuple[Mapping[str, NodeClass], frozenset[str]] = ({}, frozenset())

    def listed(self, ref: FileRef) -> bool:
        """Whether some worker's loaders list it, as of when its nodes were last read."""
        nodes = self._catalogues.nodes
        if self._listed[0] is not nodes:
            self._listed = (nodes, _listed(nodes))
        return ref.type == "input" and ref.path in self._listed[1]

    async def holder(self, ref: FileRef, but: Worker | None = None) -> Worker | None:
        """A worker that has it now, the home first."""
        asked = [w for w in self._by_home() if w.answers and (but is None or w.name != but.name)]
        found = await asyncio.gather(*(self._has(worker, ref) for worker in asked))
        return next((worker for worker, has in zip(asked, found, strict=True) if has), None)

    async def bring(self, ref: FileRef) -> bool:
        """Take it into the farm if a worker lists it; whether it is there afterwards."""
        return self.listed(ref) and await self.fetch(ref, None)

    async def fetch(self, ref: FileRef, but: Worker | None) -> bool:
        """Take it into the farm from any worker that has it."""
        worker = await self.holder(ref, but)
        if worker is None:
            return False
        try:
            async with self._worker_files.open(worker.url, ref) as opened:
                blob = await self._blobs.put(opened.chunks)
                etag = opened.stat.etag
        except (WorkerError, NotFound) as error:
            log.warning("%s cannot be fetched from %s: %s", ref, worker.name, error)
            return False
        placed = await self._store.place(Naming(ref, ref.name, overwrite=False), blob, blob.digest)
        await self._store.note_sent(worker.name, placed.ref, Sent(blob.digest, etag))
        for key in placed.useless:
            await self._blobs.delete(key)
        await self._mirror.fresh()
        return True

    def _by_home(self) -> Sequence[Worker]:
        return sorted(self._mirror.workers.values(), key=lambda worker: worker.name != self._mirror.home)

    async def _has(self, worker: Worker, ref: FileRef) -> bool:
        try:
            async with asyncio.timeout(_SAYS_WITHIN):
                return await self._worker_files.stat(worker.url, ref) is not None
        except (GatewayError, TimeoutError) as error:
            log.info("%s does not say whether it has %s: %r", worker.name, ref, error)
            return False


def _listed(nodes: Mapping[str, NodeClass]) -> frozenset[str]:
    """What upload inputs offer. Options that the browser fetches are not among them."""
    options = (
        annotated(option)
        for node in nodes.values()
        for spec in node.inputs.values()
        if spec.upload and spec.options
        for option in spec.options
        if isinstance(option, str)
    )
    return frozenset(name for name, type in options if type in (None, "input"))
