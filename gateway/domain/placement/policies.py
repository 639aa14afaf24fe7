"""Which of the workers that could run a prompt is taken, if any is to be taken now.

A policy sees every worker that the filters left, busy ones too, and may answer None: then the prompt waits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Protocol

from gateway.domain.demand import Demand
from gateway.domain.placement.spots import Spot


class Policy(Protocol):
    def pick(self, demand: Demand, able: Sequence[Spot]) -> Spot | None:
        """One of `able` that has a free slot, or None to let the prompt wait."""
        ...


class LeastQueue:
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
            return (spot.suspect, -len(demand.models & spot.warm), -spot.vram_free, spot.idle_since)

        return min(free, key=rank)


class RoundRobin:
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


class RandomChoice:
    """Any that is free. To compare with."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def pick(self, demand: Demand, able: Sequence[Spot]) -> Spot | None:
        free = [spot for spot in able if spot.free]
        return self._rng.choice(free) if free else None


POLICIES: Mapping[str, Callable[[Random], Policy]] = {
    "least-queue": lambda _: LeastQueue(),
    "round-robin": lambda _: RoundRobin(),
    "random": RandomChoice,
}
