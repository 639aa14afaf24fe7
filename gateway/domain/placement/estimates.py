"""What placement must know of a prompt to weigh where it runs, and who is asked what that costs.

The seam between reading and learning on one side and deciding on the other:

- `Work` is read from a graph once, when its prompt is taken in, and goes with it in `Waiting.work`.
- `Estimates` answers in predicted seconds. Placement asks for each (head of a group, worker) that it looks at, often
  thousands of times a decision, so each answer must be a look-up or two, and free of side effects.
- What a worker has loaded is placement's own estimate (least recently used first out, within its VRAM); whoever
  sees more calls `Placement.holds` (it has just these models) or `Placement.emptied` (it has none).
- When what runs will end is `Estimates.run` + `Estimates.load` from its start; whoever sees better (what was learned
  since, how long it is overdue) calls `Placement.ends_at`.

With `Constant` nothing is known, and placement is plain first come, first served.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from gateway.domain.ids import WorkerName


class Model(NamedTuple):
    """A model file, and the bytes of VRAM that it takes; 0 when that is not known."""

    name: str
    size: int = 0


@dataclass(frozen=True, slots=True)
class Work:
    """What of a prompt decides how long it runs and what must be loaded for it; equal works cost the same."""

    shape: str = ""
    """The graph without seeds, texts and file names, with its size in buckets; empty when nothing was read."""
    nodes: str = ""
    """Its node classes, whatever their inputs: what an unknown shape is estimated by."""
    models: frozenset[Model] = frozenset()
    parts: tuple[str, ...] = ()
    """Its nodes in the order of their ids, each hashed with all that it depends on: those that the last prompt on a
    worker had too are cached there."""
    size: float = 1.0
    """Steps × megapixels × frames × batch, as far as the graph says."""

    @property
    def bytes(self) -> int:
        return sum(model.size for model in self.models)


NOTHING = Work()
"""Of a prompt that nobody has read."""


class Estimates(Protocol):
    def run(self, work: Work, worker: WorkerName) -> float:
        """Seconds of running on that worker now, without loading models and without the nodes in its cache."""
        ...

    def load(self, model: Model, worker: WorkerName) -> float:
        """Seconds that loading this one model adds on that worker."""
        ...


class Constant:
    """Nothing is known: each prompt takes as long as any other, and loading costs nothing."""

    def __init__(self, seconds: float = 1.0) -> None:
        self._seconds = seconds

    def run(self, work: Work, worker: WorkerName) -> float:
        return self._seconds

    def load(self, model: Model, worker: WorkerName) -> float:
        return 0.0
