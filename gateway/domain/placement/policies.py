"""Which waiting prompt goes where, if any is to be placed now.

A `Policy` is shown the heads of all groups in the order of service, and may answer None: then they wait. The three
here look at one prompt after the other and at the lengths of queues; `expected` weighs in seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

from gateway.domain.demand import Demand
from gateway.domain.placement.farm import Farm
from gateway.domain.placement.groups import Entry, Head
from gateway.domain.placement.order import Order, Turns
from gateway.domain.placement.spots import Spot
from gateway.domain.placement.waiting import Weighed, Why


@dataclass(frozen=True, slots=True)
class Pick:
    entry: Entry
    spot: Spot
    why: Why = Why.TURN
    weighed: tuple[tuple[Spot, Weighed], ...] = ()


class Policy(Protocol):
    def order(self) -> Order:
        """Whose turn it is with this policy."""
        ...

    def choose(self, farm: Farm, heads: Sequence[Head], now: float) -> Pick | None:
        """A prompt and a worker that has a free slot, or None to let all wait."""
        ...

    def placed(self, entry: Entry, now: float) -> None:
        """A waiting prompt was placed, by this replica or another."""
        ...


class Picker:
    """A policy that only picks a worker, for one prompt after the other."""

    def order(self) -> Order:
        return Turns()

    def choose(self, farm: Farm, heads: Sequence[Head], now: float) -> Pick | None:
        for head in heads:
            able = head.entry.group.pool.able
            if able.isdisjoint(farm.spots.idle):
                continue
            willing = [farm.spots.all[name] for name in able if name in farm.spots.open]
            spot = self.pick(head.entry.prompt.demand, willing)
            if spot is not None:
                return Pick(head.entry, spot)
        return None

    def placed(self, entry: Entry, now: float) -> None:
        """Nothing to learn from it."""

    def pick(self, demand: Demand, able: Sequence[Spot]) -> Spot | None:
        """One of `able` that has a free slot, or None to let the prompt wait."""
        raise NotImplementedError


class LeastQueue(Picker):
    """The fewest waiting, prompts that others put there counted; then warm models, free VRAM, the longest idle.

    A worker with foreign prompts is passed over while a shorter queue will be free sooner.
    """

    def pick(self, demand: Demand, able: Sequence[Spot]) -> Spot | None:
        if not able:
            return None
        shortest = min(spot.length for spot in able)
        free = [spot for spot in able if spot.free and spot.length == shortest]
        if not free:
            return None

        def rank(spot: Spot) -> tuple[bool, int, int, float]:
            return (spot.suspect, -len(demand.models & spot.warm.keys()), -spot.vram_free, spot.idle_since)

        return min(free, key=rank)


class RoundRobin(Picker):
    """Workers in turn by name, whatever they hold. To compare with."""

    def __init__(self) -> None:
        self._last = ""

    def pick(self, demand: Demand, able: Sequence[Spot]) -> Spot | None:
        free = sorted((spot for spot in able if spot.free), key=lambda spot: spot.name)
        if not free:
            return None
        chosen = next((spot for spot in free if spot.name > self._last), free[0])
        self._last = chosen.name
        return chosen


class RandomChoice(Picker):
    """Any that is free. To compare with."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def pick(self, demand: Demand, able: Sequence[Spot]) -> Spot | None:
        free = [spot for spot in able if spot.free]
        return self._rng.choice(free) if free else None
