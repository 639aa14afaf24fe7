"""The farm as a policy looks at it: the heads of the groups, the workers, and what one costs on the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from gateway.domain.ids import WorkerName
from gateway.domain.placement.estimates import Estimates, Model
from gateway.domain.placement.groups import Group
from gateway.domain.placement.lines import Lines
from gateway.domain.placement.spots import Spot, Spots
from gateway.domain.placement.waiting import Waiting

NEAR = 32
"""Of more free workers than this not every one is looked at: those that hold the model, and so many others."""

_KEPT_MODELS = 4096
_MEMORY = 500
"""How many arrivals it takes to forget how popular a model was."""


class Popularity:
    """The share of late arrivals that need a model."""

    def __init__(self) -> None:
        self._arrivals = 0
        self._seen: dict[str, tuple[float, int]] = {}

    def arrived(self, models: Iterable[Model]) -> None:
        self._arrivals += 1
        for model in models:
            self._seen[model.name] = (self.share(model.name) + 1 / _MEMORY, self._arrivals)
        if len(self._seen) > _KEPT_MODELS:
            rarest = sorted(self._seen, key=self.share)[: _KEPT_MODELS // 2]
            for name in rarest:
                del self._seen[name]

    def share(self, model: str) -> float:
        share, when = self._seen.get(model, (0.0, 0))
        return share * (1 - 1 / _MEMORY) ** (self._arrivals - when)


@dataclass(slots=True)
class Farm:
    spots: Spots
    lines: Lines
    estimates: Estimates
    popularity: Popularity = field(default_factory=Popularity)

    def load(self, prompt: Waiting, spot: Spot) -> float:
        """Seconds of loading and of sending files before it could run there, once the worker is free."""
        seconds = sum(self.estimates.load(model, spot.name) for model in spot.lacks(prompt.models))
        return seconds if spot.name in prompt.staged else seconds + prompt.staging

    def run(self, prompt: Waiting, spot: Spot) -> float:
        return self.estimates.run(prompt.work, spot.name)

    def regret(self, prompt: Waiting, spot: Spot) -> float:
        """What loading this prompt's models there will cost those who need what has to go for them."""
        seconds = 0.0
        for name in spot.evicted_by(prompt.models):
            again = self.estimates.load(Model(name, spot.warm[name]), spot.name)
            wanted = self.popularity.share(name) * len(self.spots.open) / len(self.spots.with_model(name))
            seconds += again * min(1.0, wanted / 2)
        return seconds

    def near(self, group: Group) -> list[Spot]:
        """Free workers for a group's prompts, unless they answer slowly or are busy with prompts of others."""
        idle, able = self.spots.idle, group.pool.able
        names: Iterator[Spot] = (spot for name, spot in idle.items() if name in able and _at_ease(spot))
        if len(idle) <= NEAR:
            return list(names)
        holding = (s for s in self.holders(group).values() if s.name in idle and _at_ease(s))
        found = {spot.name: spot for spot in islice(holding, NEAR)}
        found.update((spot.name, spot) for spot in islice(names, NEAR))
        return list(found.values())

    def uneasy(self, group: Group) -> list[Spot]:
        """The free ones that `near` leaves out."""
        return [s for name, s in self.spots.idle.items() if not _at_ease(s) and name in group.pool.able]

    def holders(self, group: Group) -> Mapping[WorkerName, Spot]:
        """Able workers, busy or not, that have the biggest model of a group loaded."""
        if not group.models:
            return {}
        found = self.spots.with_model(group.biggest)
        able, there = group.pool.able, self.spots.open
        if found.keys() <= able and found.keys() <= there:  # as nearly always
            return found
        return {name: spot for name, spot in found.items() if name in able and name in there}

    def busy(self, group: Group, most: int) -> tuple[list[Spot], int]:
        """Of the holders those that are not free: so many of them, and how many there are."""
        holders, idle = self.holders(group), self.spots.idle
        some = list(islice((spot for name, spot in holders.items() if name not in idle), most))
        return some, len(some) if len(some) < most else len(holders.keys() - idle.keys())


def _at_ease(spot: Spot) -> bool:
    return not spot.worker.foreign and not spot.suspect
