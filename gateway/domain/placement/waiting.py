"""A prompt as placement sees it while it waits, and what is decided about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gateway.domain.demand import Demand
from gateway.domain.ids import PromptId, WorkerName
from gateway.domain.placement.estimates import NOTHING, Model, Work

Kind = tuple[Demand, frozenset[WorkerName]]
"""What prompts have in common that fit the same workers: the demand, and the workers that have said no already."""


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

    @property
    def models(self) -> frozenset[Model]:
        """What it loads; of one whose work nobody has read, the names that its graph gives."""
        return self.work.models or frozenset(map(Model, self.demand.models))


class Why(StrEnum):
    """How a prompt came to its worker."""

    RESIDENT = "resident"  # its models are loaded there
    WAITED = "waited-for-resident"  # the same, and it had waited for that worker while another was free
    SWITCH = "switch"  # they are to be loaded
    AGED = "aged"  # others had passed it often enough
    ONLY_ONE = "only-one"  # no other worker could run it
    IDLE = "idle"  # any would have done
    TURN = "turn"  # the policy looks at queues only, or there is one worker in all


@dataclass(frozen=True, slots=True)
class Weighed:
    """What a prompt would cost on one worker, in predicted seconds; the smallest score is the best."""

    free_in: float
    load: float
    run: float
    score: float


@dataclass(frozen=True, slots=True)
class Ahead:
    """What waits before a prompt: how many, and the seconds that they take one after the other."""

    count: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Chosen:
    """`reasons` says of other workers why they were not taken, of all of them in a small farm."""

    id: PromptId
    worker: WorkerName
    reasons: dict[WorkerName, str]
    why: Why = Why.TURN
    weighed: dict[WorkerName, Weighed] | None = None
    run: float = 0.0  # predicted seconds of running there
    anywhere: float = 0.0  # and on the average worker
    loads: dict[str, float] | None = None  # predicted seconds of loading each of its models there
