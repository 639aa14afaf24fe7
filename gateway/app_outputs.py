"""The part of the composition root that has to do with what prompts write."""

from __future__ import annotations

from dataclasses import dataclass

import aiohttp

from gateway.adapters.comfy import ComfyApi
from gateway.adapters.comfy_files import ComfyFiles
from gateway.adapters.redis_farm import RedisFarm
from gateway.adapters.redis_jobs import RedisJobs
from gateway.adapters.redis_outputs import RedisOutputs
from gateway.app_blobs import blobs
from gateway.domain.ports import Recorder
from gateway.edge.kept_outputs import KeptOutputs
from gateway.flows.folders import Folders
from gateway.flows.keep_outputs import KeepOutputs, KeepsNothing
from gateway.flows.kept_files import KeptFiles
from gateway.flows.lives import Disk, Disks
from gateway.flows.mirror import Mirror
from gateway.flows.outputs import Outputs
from gateway.flows.sharing import Tasks
from gateway.settings import Settings


@dataclass(frozen=True, slots=True)
class Written:
    """The use cases around outputs; what each does is said in its module."""

    disks: Disks
    outputs: Outputs
    folders: Folders
    keeps: KeepOutputs
    kept: KeptOutputs | None

    async def sweep(self, leads: bool) -> None:
        """What one replica, the leading one, does for all; also when outputs are kept no more."""
        if leads:
            await self.keeps.tick()


def written(
    settings: Settings,
    jobs: RedisJobs,
    farm: RedisFarm,
    store: RedisOutputs,
    session: aiohttp.ClientSession,
    comfy: ComfyApi,
    mirror: Mirror,
    tasks: Tasks,
    recorder: Recorder,
) -> Written:
    disks, shared = Disks(lambda: Disk(comfy, farm)), settings.outputs == "shared"
    mirror.listen(lambda news: disks.retain(mirror.workers) if news.gone else None)
    copies = blobs(settings, "outputs")
    worker_files = ComfyFiles(session, connect_timeout=settings.connect_timeout)
    keeps = KeepOutputs(store, copies, worker_files, tasks, recorder)
    outputs = Outputs(jobs, mirror, disks, keeps if settings.keep_outputs else KeepsNothing(), shared=shared)
    kept = KeptOutputs(KeptFiles(mirror, copies), copies, settings.outputs_redirect) if settings.keep_outputs else None
    return Written(disks, outputs, Folders(jobs, comfy, mirror, shared), keeps, kept)
