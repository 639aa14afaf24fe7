"""The part of the composition root that has to do with what prompts write."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.adapters.comfy import ComfyApi
from gateway.adapters.redis_farm import RedisFarm
from gateway.adapters.redis_jobs import RedisJobs
from gateway.flows.folders import Folders
from gateway.flows.lives import Disk, Disks
from gateway.flows.mirror import Mirror
from gateway.flows.outputs import Outputs
from gateway.settings import Settings


@dataclass(frozen=True, slots=True)
class Written:
    """The use cases around outputs; what each does is said in its module."""

    disks: Disks
    outputs: Outputs
    folders: Folders


def written(settings: Settings, jobs: RedisJobs, farm: RedisFarm, comfy: ComfyApi, mirror: Mirror) -> Written:
    disks, shared = Disks(lambda: Disk(comfy, farm)), settings.outputs == "shared"
    mirror.listen(lambda _: disks.retain(mirror.workers))
    return Written(disks, Outputs(jobs, mirror, disks, shared=shared), Folders(jobs, comfy, mirror, shared))
