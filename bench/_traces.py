"""The traces that placement is measured on: arrivals at random, models by popularity, a long tail of running times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from random import Random

from gateway.domain.simulation import Arrival, Trace

CALLERS = 16


def zipf8(seed: int, prompts: int, load: float) -> Trace:
    """8 workers, two of them twice as fast; 8 models, 15 s to load one; times known. `load` counts running only."""
    rng, callers = Random(seed), Random(f"callers {seed}")
    speeds = [1.0] * 6 + [2.0] * 2
    rate = load * sum(speeds) / 9.44
    popularity = [1 / (rank + 1) ** 0.8 for rank in range(8)]
    arrivals, at = [], 0.0
    for _ in range(prompts):
        at += rng.expovariate(rate)
        model = rng.choices(range(8), popularity)[0]
        seconds = rng.lognormvariate(2.0, 0.7)
        arrivals.append(Arrival(at, _caller(callers), frozenset({f"model-{model}"}), seconds, seconds))
    return Trace(_workers(speeds), {f"model-{model}": 15.0 for model in range(8)}, arrivals)


def reference(seed: int, prompts: int, load: float, noise: float) -> Trace:
    """16 workers of three speeds; 12 models, 5 to 60 s to load; 36 kinds of work; predictions off by `noise`."""
    rng, callers = Random(100 + seed), Random(f"callers {seed}")
    speeds = [rng.choice([0.6, 1.0, 1.0, 1.7]) for _ in range(16)]
    loads = [rng.uniform(5, 60) for _ in range(12)]
    kinds = [(model, math.exp(rng.uniform(math.log(2), math.log(90)))) for model in range(12) for _ in range(3)]
    popularity = [1 / (model + 1) / 3 for model, _ in kinds]
    work = []
    for _ in range(prompts):
        model, median = rng.choices(kinds, popularity)[0]
        seconds = min(600.0, max(1.0, median * math.exp(rng.gauss(0, 0.25))))
        work.append((model, seconds, max(1.0, seconds * math.exp(rng.gauss(0, noise)))))
    rate = load * sum(speeds) / (sum(seconds for _, seconds, _ in work) / prompts)
    arrivals, at = [], 0.0
    for model, seconds, predicted in work:
        at += rng.expovariate(rate)
        arrivals.append(Arrival(at, _caller(callers), frozenset({f"model-{model}"}), seconds, predicted))
    return Trace(_workers(speeds), {f"model-{model}": seconds for model, seconds in enumerate(loads)}, arrivals)


def flooded(trace: Trace, seed: int) -> Trace:
    """One caller more sends as many prompts as all others together, at once, when an eighth of those are there."""
    rng = Random(f"flood {seed}")
    when = trace.arrivals[len(trace.arrivals) // 8].at
    flood = [replace(rng.choice(trace.arrivals), at=when, caller="flood") for _ in trace.arrivals]
    return replace(trace, arrivals=sorted([*trace.arrivals, *flood], key=lambda arrival: arrival.at))


def _workers(speeds: Sequence[float]) -> dict[str, float]:
    return {f"worker-{number:02}": speed for number, speed in enumerate(speeds)}


def _caller(rng: Random) -> str:
    return f"caller-{rng.randrange(CALLERS)}"
