"""What the farm is made of, answered from memory: nodes, models, extensions, features, machines.

Workers are read in the background, so that neither many clients nor a slow worker make an answer late; only the
first one after the start waits, for at least one worker.
"""

from __future__ import annotations

import json
import random
from types import TracebackType
from urllib.parse import quote

from gateway.domain.bodies import Body, json_body
from gateway.domain.errors import NoWorker
from gateway.domain.files.listing import united
from gateway.domain.stats import Reading, merge
from gateway.flows.flights import Flights
from gateway.flows.listings import Listings, Patience
from gateway.flows.metadata import Metadata
from gateway.flows.model_sizes import ModelSizes
from gateway.flows.united import FarmFiles, NoFarmFiles, United
from gateway.flows.worker_reads import WorkerReads


class Catalog:
    """An async context manager: its readings end with it. `tick` has to be called every second or so."""

    def __init__(
        self,
        reads: WorkerReads,
        *,
        max_upload: int,
        patience: Patience | None = None,
        parallel: int = 8,
        files: FarmFiles | None = None,
        rng: random.Random | None = None,
    ) -> None:
        patience = patience or Patience()
        jitter = rng or random.Random()
        self._reads = reads
        self._flights = Flights(parallel)
        self._files = files or NoFarmFiles()
        self._united = United(reads, self._flights, patience.first, self._files)
        self._listings = Listings(reads, self._flights, patience, lambda: jitter.uniform(0.8, 1.2))
        self._metadata = Metadata(reads, self._flights, patience.read)
        self.sizes = ModelSizes(reads, self._flights)
        self.flags = {"supports_preview_metadata": True, "max_upload_size": max_upload}
        self._features = json_body(self.flags)

    async def __aenter__(self) -> Catalog:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._flights.close()

    async def tick(self) -> None:
        """Start what is due; never waits for a worker."""
        self._united.refresh()
        self._listings.refresh()
        self.sizes.refresh()

    async def object_info(self) -> Body:
        """All node classes of all workers. Raises NoWorker when none told its own in time."""
        return await self._united.all()

    async def node(self, name: str) -> Body:
        """One node class, `{}` for an unknown one."""
        return await self._united.one(name)

    async def embeddings(self) -> Body | None:
        return await self._listings.answer("/embeddings")

    async def extensions(self) -> Body | None:
        return await self._listings.answer("/extensions")

    async def models(self, folder: str | None = None) -> Body | None:
        """The folders of models, or what is in one; None for a folder that no worker has."""
        return await self._listings.answer("/models" + (f"/{quote(folder, safe='')}" if folder else ""))

    async def input_files(self) -> Body:
        """GET /internal/files/input: the farm's files, the newest first, then what is on workers' own disks."""
        listed = await self._listings.answer("/internal/files/input")
        await self._files.fresh()
        told = json.loads(listed.plain) if listed is not None else []
        return json_body(united(self._files.inputs.newest("input"), told))

    async def metadata(self, folder: str, filename: str | None) -> Body | None:
        """What a .safetensors file says of itself; None for a 404."""
        return await self._metadata.answer(folder, filename)

    def features(self) -> Body:
        """The gateway's own flags, whatever the workers can do besides."""
        return self._features

    def system_stats(self) -> Body:
        """Raises NoWorker until the first worker has told its own."""
        known = [Reading(worker.name, worker.stats, worker.answers) for worker in self._reads.workers() if worker.stats]
        if not known:
            raise NoWorker("no worker has told its memory and devices yet")
        return json_body(merge(known))
