"""The part of the composition root that has to do with uploaded files."""

from __future__ import annotations

from dataclasses import dataclass

import aiohttp
from starlette.types import ASGIApp

from gateway.adapters.comfy_files import ComfyFiles
from gateway.adapters.redis_inputs import RedisInputs
from gateway.app_blobs import blobs
from gateway.domain.ports import Recorder
from gateway.domain.ports.relay import Wire
from gateway.edge.kept import KeptView
from gateway.edge.uploads import Upload
from gateway.flows.catalogues import Catalogues
from gateway.flows.elsewhere import Elsewhere
from gateway.flows.keeping import Keep, Keeping
from gateway.flows.kept_files import KeptFiles
from gateway.flows.masks import Masks
from gateway.flows.mirror import Mirror
from gateway.flows.outputs import Outputs
from gateway.flows.reuse import Reuse
from gateway.flows.sharing import Tasks
from gateway.flows.staging import Staging
from gateway.flows.uploads import Uploads
from gateway.settings import Settings


@dataclass(frozen=True, slots=True)
class Inputs:
    """The use cases around uploaded files; what each does is said in its module."""

    uploads: Uploads
    kept: KeptFiles
    staging: Staging
    elsewhere: Elsewhere
    masks: Masks
    keeping: Keeping
    shared: bool

    async def keep(self, leads: bool) -> None:
        """What one replica, the leading one, does for all."""
        if leads:
            await self.keeping.tick()

    def upload(self) -> Upload:
        return Upload(self.uploads, self.uploads.image)

    def mask(self) -> Upload:
        return Upload(self.uploads, self.masks.mask)

    def view(self, wire: Wire, otherwise: ASGIApp) -> KeptView:
        return KeptView(self.kept, wire, self.elsewhere.holder, otherwise, shared=self.shared)


def inputs(
    settings: Settings,
    store: RedisInputs,
    session: aiohttp.ClientSession,
    mirror: Mirror,
    catalogues: Catalogues,
    tasks: Tasks,
    recorder: Recorder,
    outputs: Outputs,
) -> Inputs:
    kept = blobs(settings, "inputs")
    worker_files = ComfyFiles(session, connect_timeout=settings.connect_timeout)
    elsewhere = Elsewhere(mirror, catalogues, store, kept, worker_files)
    uploads = Uploads(store, kept, mirror, elsewhere.bring)
    reuse = Reuse(outputs, worker_files, blobs(settings, "outputs"))
    staging = Staging(mirror, store, kept, worker_files, elsewhere, reuse, tasks, recorder)
    return Inputs(
        uploads=uploads,
        kept=KeptFiles(mirror, kept),
        staging=staging,
        elsewhere=elsewhere,
        shared=settings.outputs == "shared",
        keeping=Keeping(store, kept, mirror, Keep(settings.inputs_ttl, settings.inputs_max_bytes)),
        masks=Masks(uploads, kept, mirror, worker_files, staging, reuse),
    )
