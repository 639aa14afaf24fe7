"""All that was learned, by key: how long shapes run, how fast workers are, how long models take to load.

A key that is hardly known is drawn to a more general one (empirical Bayes): a shape on a worker ← the shape on any,
times how fast that worker is ← its node set ← its largest model ← everything. Keys that were not used for longest go
when there are too many.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from gateway.domain.ids import WorkerName
from gateway.domain.learning.tally import Tally, load
from gateway.domain.models import GIB
from gateway.domain.placement.estimates import Model, Work

MAX_KEYS = 8192
GUESS = 10.0
"""Seconds of a run, and of loading 6 GiB, when nothing at all is known."""

_LOAD_RATE = GUESS / (6 * GIB)
_GUESSED = 0.2
_GROWTH = 0.8
"""Time grows with size a little slower than in proportion, for part of it is not sampling."""
_ALL_CACHED = 0.02
"""Seconds of a prompt that is answered from a worker's cache altogether."""
_DOUBT_WORKER, _DOUBT_CACHED, _DOUBT_SHAPE, _DOUBT_NODES, _DOUBT_MODEL = 1.0, 0.5, 0.25, 0.5, 1.0


class Book:
    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self._max_keys = max_keys
        self._tallies: OrderedDict[str, Tally] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tallies)

    # runs

    def run(self, work: Work, cached: int, worker: WorkerName | None) -> float:
        """The logarithm of the seconds that this takes; `cached` has a bit for each part that is answered from the
        worker's cache. Without a worker: on one of middling speed."""
        expected = self._by_shape(work, cached)
        if worker is None:
            return expected
        expected += self.pace(worker)
        own = self._tallies.get(_run(work, cached, worker))
        return own.towards(expected, _DOUBT_WORKER) if own else expected

    def spread(self, work: Work, cached: int, worker: WorkerName) -> float:
        """Standard deviation of the logarithm."""
        own = self._tallies.get(_run(work, cached, worker)) or self._tallies.get(_run(work, cached, None))
        return own.spread if own else Tally().spread

    def pace(self, worker: WorkerName) -> float:
        """The logarithm of how much longer than others it takes."""
        tally = self._tallies.get(f"w:{worker}")
        return tally.towards(0.0, 1.0) if tally else 0.0

    def nodes_known(self, work: Work) -> float:
        """How many observations of its node set there are."""
        tally = self._tallies.get(f"n:{work.nodes}")
        return tally.weight if tally else 0.0

    def shape_known(self, work: Work) -> float:
        """How many observations of this shape there are, whatever was cached."""
        tally = self._tallies.get(f"s:{work.shape}")
        return tally.weight if tally else 0.0

    def guess_run(self, work: Work, cached: int, worker: WorkerName, seconds: float) -> None:
        """What part of a time it may have run, when nothing better is known."""
        took = math.log(max(seconds, 0.001))
        self._of(_run(work, cached, worker)).take(took, _GUESSED)
        for key, _ in _levels(work):
            self._of(key).take(took - self.pace(worker) - _sized(work), _GUESSED)

    def teach_run(self, work: Work, cached: int, worker: WorkerName, seconds: float, weight: float = 1.0) -> None:
        took = math.log(max(seconds, 0.001))
        pooled, own = self._tallies.get(_run(work, cached, None)), self._tallies.get(_run(work, cached, worker))
        if pooled is not None and pooled.weight > (own.weight if own else 0.0) + 0.5:  # others ran it too
            self._of(f"w:{worker}").take(took - pooled.mean, weight)
        usual = took - self.pace(worker)
        self._of(_run(work, cached, worker)).take(took, weight)
        self._of(_run(work, cached, None)).take(usual, weight)
        if not all_cached(work, cached):
            self._of(f"s:{work.shape}").take(usual, weight)
            for key, _ in _levels(work):
                self._of(key).take(usual - _sized(work), weight)

    def _by_shape(self, work: Work, cached: int) -> float:
        exact = self._tallies.get(_run(work, cached, None))
        if all_cached(work, cached):
            return exact.towards(math.log(_ALL_CACHED), _DOUBT_CACHED) if exact else math.log(_ALL_CACHED)
        expected = math.log(GUESS)
        for key, doubt in _levels(work):
            if (tally := self._tallies.get(key)) is not None:
                expected = tally.towards(expected - _sized(work), doubt) + _sized(work)
        if (shape := self._tallies.get(f"s:{work.shape}")) is not None:
            expected = shape.towards(expected, _DOUBT_SHAPE)
        return exact.towards(expected, _DOUBT_CACHED) if exact else expected

    # loads

    def load(self, model: Model, worker: WorkerName | None) -> float:
        """Seconds that loading it takes there."""
        expected = math.log(max(self._by_size(model), 0.001))
        if (anywhere := self._tallies.get(_load(model, None))) is not None:
            expected = anywhere.towards(expected, _DOUBT_SHAPE)
        own = self._tallies.get(_load(model, worker)) if worker else None
        return math.exp(own.towards(expected, _DOUBT_WORKER) if own else expected)

    def loads_known(self, model: Model, worker: WorkerName | None = None) -> float:
        tally = self._tallies.get(_load(model, worker))
        return tally.weight if tally else 0.0

    def teach_load(self, model: Model, worker: WorkerName, seconds: float, weight: float = 1.0) -> None:
        took = math.log(max(seconds, 0.001))
        self._of(_load(model, worker)).take(took, weight)
        self._of(_load(model, None)).take(took, weight)
        if model.size:
            self._of("r").take(took - math.log(model.size), weight)

    def _by_size(self, model: Model) -> float:
        rate = self._tallies.get("r")
        return model.size * (math.exp(rate.towards(math.log(_LOAD_RATE), 0.5)) if rate else _LOAD_RATE)

    # keeping

    def _of(self, key: str) -> Tally:
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = Tally()
            if len(self._tallies) > self._max_keys:
                self._tallies.popitem(last=False)
        else:
            self._tallies.move_to_end(key)
        return tally

    def dump(self) -> dict[str, list[float]]:
        return {key: tally.dump() for key, tally in self._tallies.items()}

    def restore(self, raw: Mapping[str, Any]) -> None:
        """What is malformed in it is left out."""
        read = ((key, load(value)) for key, value in list(raw.items())[-self._max_keys :])
        self._tallies = OrderedDict((key, tally) for key, tally in read if tally is not None)


def all_cached(work: Work, cached: int) -> bool:
    return bool(work.parts) and cached.bit_count() >= len(work.parts)


def _levels(work: Work) -> list[tuple[str, float]]:
    """From the most general to the node set, with the doubt in each."""
    largest = max(work.models, key=lambda model: (model.size, model.name), default=None)
    levels = [("a", 0.5)]
    if largest is not None:
        levels.append((f"m:{largest.name}", _DOUBT_MODEL))
    return [*levels, (f"n:{work.nodes}", _DOUBT_NODES)]


def _sized(work: Work) -> float:
    return _GROWTH * math.log(max(work.size, 1e-6))


def _run(work: Work, cached: int, worker: WorkerName | None) -> str:
    return f"s:{work.shape}:{cached:x}" + (f":{worker}" if worker else "")


def _load(model: Model, worker: WorkerName | None) -> str:
    return f"l:{model.name}" + (f":{worker}" if worker else "")
