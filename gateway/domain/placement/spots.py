"""A worker as placement sees it."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.domain.demand import Demand
from gateway.domain.ids import PromptId, WorkerName
from gateway.domain.workers import Suspect, Worker

DEPTH = 1
"""How many of our prompts a worker holds at a time: what waits here can still go anywhere (DESIGN section 2)."""


@dataclass(slots=True)
class Spot:
    """One worker, what it holds of ours, and what its last prompt left loaded."""

    worker: Worker
    held: set[PromptId] = field(default_factory=set)
    warm: frozenset[str] = frozenset()
    idle_since: float = 0.0
    until: float = 0.0  # when what it holds is expected to end

    @property
    def name(self) -> WorkerName:
        return self.worker.name

    @property
    def length(self) -> int:
        return len(self.held) + self.worker.foreign

    @property
    def free(self) -> bool:
        return len(self.held) < DEPTH

    @property
    def vram_free(self) -> int:
        return self.worker.vram_free

    @property
    def suspect(self) -> bool:
        return isinstance(self.worker.liveness, Suspect)


def unfit(demand: Demand, worker: Worker) -> str | None:
    """Why this worker can never run such a prompt as it is now installed, or None."""
    if worker.catalogue is None:
        return "its node list is not read yet"
    if reason := worker.catalogue.lacks(demand):
        return reason
    if lacking := demand.requires - worker.labels:
        return f"lacks the label {min(lacking)}"
    if demand.min_vram and worker.vram_total < demand.min_vram:
        return f"too little VRAM: {worker.vram_total} of {demand.min_vram} bytes"
    return None
