"""The workers as placement sees them: what each holds, what it has loaded, which of them are free."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.domain.demand import Demand
from gateway.domain.ids import PromptId, WorkerName
from gateway.domain.placement.estimates import Model
from gateway.domain.workers import Down, Suspect, Worker

DEPTH = 1
"""How many of our prompts a worker holds at a time: what waits here can still go anywhere (DESIGN section 2)."""

_FOR_MODELS = 0.8
"""The share of VRAM that models may take before the one used longest ago has to go; the rest is for running."""

_UNKNOWN = 0.5
"""The share of it that a model of unknown size counts for."""


@dataclass(slots=True)
class Spot:
    """One worker, what it holds of ours, and what its prompts left loaded."""

    worker: Worker
    held: set[PromptId] = field(default_factory=set)
    warm: dict[str, int] = field(default_factory=dict)
    """Bytes of each model that is loaded, the one used longest ago first."""
    idle_since: float = 0.0
    started: float = 0.0
    until: float = 0.0
    """When what it holds began, and when that is expected to end."""
    using: tuple[Model, ...] = ()
    """The models of what it holds."""
    speed: float = 1.0
    """How fast it ran its last prompt, as predicted, in terms of the average worker."""

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

    def lacks(self, models: Iterable[Model]) -> list[Model]:
        return [model for model in models if model.name not in self.warm]

    def evicted_by(self, models: Iterable[Model]) -> list[str]:
        """What would have to go for these models; of a worker of unknown size all that is not among them."""
        room = self.worker.vram_total * _FOR_MODELS
        used = {model.name: self._bytes(model) for model in models}
        left = {name: size for name, size in self.warm.items() if name not in used}
        excess = sum(used.values()) + sum(left.values()) - room
        gone = []
        for name, size in left.items():
            if excess <= 0:
                break
            gone.append(name)
            excess -= size
        return gone

    def use(self, models: Iterable[Model]) -> None:
        models = list(models)
        for name in self.evicted_by(models):
            del self.warm[name]
        for model in models:
            self.warm.pop(model.name, None)
            self.warm[model.name] = self._bytes(model)

    def _bytes(self, model: Model) -> int:
        return model.size or int(_UNKNOWN * _FOR_MODELS * self.worker.vram_total) or 1


class Spots:
    """All workers, with those that are free and those that have a model loaded at hand."""

    def __init__(self) -> None:
        self.all: dict[WorkerName, Spot] = {}
        self.open: set[WorkerName] = set()
        """Those that take prompts, busy or not."""
        self.idle: dict[WorkerName, Spot] = {}
        """Of those the ones with a free slot, idle for longest first."""
        self._holders: dict[str, dict[WorkerName, Spot]] = {}
        self._on: dict[PromptId, Spot] = {}

    def seen(self, worker: Worker) -> bool:
        """Whether it takes prompts now and did not, or the other way round."""
        spot = self.all.get(worker.name)
        if spot is None:
            spot = self.all[worker.name] = Spot(worker)
        spot.worker = worker
        if isinstance(worker.liveness, Down):
            self.holds(worker.name, ())
        was, now = worker.name in self.open, worker.refusal() is None
        (self.open.add if now else self.open.discard)(worker.name)
        self._list(spot)
        return was is not now

    def gone(self, name: WorkerName) -> None:
        self.holds(name, ())
        self.open.discard(name)
        self.idle.pop(name, None)
        spot = self.all.pop(name, None)
        for id in spot.held if spot else ():
            del self._on[id]

    def holder(self, id: PromptId) -> Spot | None:
        """The worker whose slot this prompt holds."""
        return self._on.get(id)

    def take(self, spot: Spot, id: PromptId, models: Iterable[Model]) -> None:
        self._on[id] = spot
        spot.held.add(id)
        spot.using = tuple(sorted(models))
        if spot.using:
            before = set(spot.warm)
            spot.use(spot.using)
            self._hold(spot, before)
        self._list(spot)

    def release(self, id: PromptId, now: float) -> Spot | None:
        spot = self._on.pop(id, None)
        if spot is not None:
            spot.held.discard(id)
            spot.idle_since = now
            self._list(spot)
        return spot

    def holds(self, name: WorkerName, models: Iterable[Model]) -> None:
        """It has just these loaded, and what it runs needs."""
        if (spot := self.all.get(name)) is not None:
            before = set(spot.warm)
            spot.warm.clear()
            for used in (models, spot.using if spot.held else ()):
                if used:
                    spot.use(used)
            self._hold(spot, before)

    def with_model(self, name: str) -> dict[WorkerName, Spot]:
        """Those that have this model loaded."""
        return self._holders.get(name, {})

    def _hold(self, spot: Spot, before: set[str]) -> None:
        for name in before - spot.warm.keys():
            del self._holders[name][spot.name]
            if not self._holders[name]:
                del self._holders[name]
        for name in spot.warm.keys() - before:
            self._holders.setdefault(name, {})[spot.name] = spot

    def _list(self, spot: Spot) -> None:
        if spot.free and spot.name in self.open:
            self.idle.setdefault(spot.name, spot)
        else:
            self.idle.pop(spot.name, None)


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
