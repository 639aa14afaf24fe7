"""Plays a trace of prompts through the gateway's own placement, in a time of its own.

The workers here do only what matters to placement: one prompt at a time, models kept while there is room for them
(least recently used first out), a model that is not there loaded before the run. For `bench/simulate.py`, and for
`gateway replay`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from types import MappingProxyType

from gateway.domain.catalogue import Catalogue
from gateway.domain.demand import Demand
from gateway.domain.ids import PromptId, WorkerName
from gateway.domain.placement import Model, Placement, Policy, Waiting, Why, Work
from gateway.domain.workers import Up, Worker

_BYTES = 1000
_ROOM = 1250
"""VRAM for one model of _BYTES, by what placement leaves free for running."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A prompt of a trace. `seconds`: running on a worker of speed 1; `predicted`: what is told of that beforehand."""

    at: float
    caller: str
    models: frozenset[str]
    seconds: float
    predicted: float
    priority: int = 0
    workers: frozenset[str] | None = None
    """Those that can run it, when not all can."""


@dataclass(frozen=True, slots=True)
class Trace:
    """`speeds` of the workers by name, `loads` seconds of the models by name, `slots` models that a worker keeps."""

    speeds: Mapping[str, float]
    loads: Mapping[str, float]
    arrivals: Sequence[Arrival]
    slots: int = 1


@dataclass(slots=True)
class Played:
    """What came of it, by arrival in seconds: when each was placed, when it was done."""

    placed: list[float]
    done: list[float]
    loading: float = 0.0
    running: float = 0.0
    switches: int = 0
    why: dict[Why, int] = field(default_factory=dict)


class _Told:
    """The estimates of a trace: a work's shape is the number of its arrival."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace

    def run(self, work: Work, worker: WorkerName) -> float:
        return self._trace.arrivals[int(work.shape)].predicted / self._trace.speeds.get(worker, 1.0)

    def load(self, model: Model, worker: WorkerName) -> float:
        return self._trace.loads[model.name]


@dataclass(slots=True)
class _Machine:
    """What a worker really has loaded."""

    speed: float
    warm: OrderedDict[str, None] = field(default_factory=OrderedDict)

    def bring(self, models: frozenset[str], slots: int) -> list[str]:
        """The models that had to be loaded."""
        missing = [name for name in sorted(models) if name not in self.warm]
        for name in sorted(models):
            self.warm[name] = None
            self.warm.move_to_end(name)
        while len(self.warm) > max(slots, len(models)):
            self.warm.popitem(last=False)
        return missing


class Simulation:
    def __init__(self, trace: Trace, policy: Policy) -> None:
        self._trace = trace
        self._placement = Placement(policy, estimates=_Told(trace))
        self._machines = {name: _Machine(speed) for name, speed in trace.speeds.items()}
        self._demands: dict[tuple[frozenset[str], frozenset[str] | None], Demand] = {}
        self._prompts = [self._prompt(number, arrival) for number, arrival in enumerate(trace.arrivals)]
        self._events = [(arrival.at, number, "") for number, arrival in enumerate(trace.arrivals)]
        some = {arrival.workers for arrival in trace.arrivals if arrival.workers}
        for name in trace.speeds:
            labels = frozenset(_label(workers) for workers in some if name in workers)
            self._placement.worker_seen(_worker(name, trace.slots, labels))

    def play(self) -> Played:
        """Raises RuntimeError when a prompt is never placed."""
        played = Played([0.0] * len(self._prompts), [0.0] * len(self._prompts))
        heapify(self._events)
        while self._events:
            now, number, worker = heappop(self._events)
            if worker:
                self._placement.gone(self._prompts[number].id, now)
            else:
                self._placement.waits(self._prompts[number], now)
            while (chosen := self._placement.decide(now)) is not None:
                played.why[chosen.why] = played.why.get(chosen.why, 0) + 1
                self._begin(int(chosen.id), chosen.worker, now, played)
        if len(self._placement):
            raise RuntimeError(f"{len(self._placement)} prompts were never placed")
        return played

    def _begin(self, number: int, worker: WorkerName, now: float, played: Played) -> None:
        machine, arrival = self._machines[worker], self._trace.arrivals[number]
        missing = machine.bring(arrival.models, self._trace.slots)
        loading = sum(self._trace.loads[name] for name in missing)
        running = arrival.seconds / machine.speed
        self._placement.runs(self._prompts[number], worker, now)
        played.switches += bool(missing)
        played.loading += loading
        played.running += running
        played.placed[number], played.done[number] = now, now + loading + running
        heappush(self._events, (played.done[number], number, worker))

    def _prompt(self, number: int, arrival: Arrival) -> Waiting:
        key = (arrival.models, arrival.workers)
        if key not in self._demands:
            label = frozenset({_label(arrival.workers)}) if arrival.workers else frozenset[str]()
            self._demands[key] = Demand(frozenset(), frozenset(), arrival.models, requires=label)
        work = Work(str(number), models=frozenset(Model(name, _BYTES) for name in arrival.models))
        return Waiting(
            PromptId(str(number)),
            self._demands[key],
            arrival.caller,
            number,
            number,
            work=work,
            priority=arrival.priority,
        )


def _label(workers: frozenset[str]) -> str:
    """What these workers have and no others."""
    return ",".join(sorted(workers))


def _worker(name: str, slots: int, labels: frozenset[str]) -> Worker:
    nothing = Catalogue(MappingProxyType({}), frozenset(), "")
    return Worker(WorkerName(name), name, liveness=Up(), vram_total=slots * _ROOM, catalogue=nothing, labels=labels)
