"""A prompt as placement sees it while it waits, and what is decided about it."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.domain.demand import Demand
from gateway.domain.ids import PromptId, WorkerName
from gateway.domain.placement.estimates import NOTHING, Work

Kind = tuple[Demand, frozenset[WorkerName]]
"""What a group has in common: the demand, and the workers that have said no to it already."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A prompt that waits: `number` orders it among its caller's, `seq` is its turn in the farm's line.

    `hard`: that place is meant, so that no other of its caller's may pass. `priority` goes before all turns, -100 to
    100. `staging`: seconds that a worker which is not in `staged` needs to be sent its input files.
    """

    id: PromptId
    demand: Demand
    caller: str
    number: float
    seq: int
    refused_by: frozenset[WorkerName] = frozenset()
    work: Work = NOTHING
    priority: int = 0
    hard: bool = False
    staging: float = 0.0
    staged: frozenset[WorkerName] = frozenset()

    @property
    def kind(self) -> Kind:
        return (self.demand, self.refused_by)

    @property
    def order(self) -> tuple[float, str]:
        return (self.number, self.id)


@dataclass(frozen=True, slots=True)
class Chosen:
    id: PromptId
    worker: WorkerName
    reasons: dict[WorkerName, str]  # each other worker, and why it was not taken
