"""Policies that the gateway does not ship, to measure its own against: least expected time, clearing, central ECT.

They decide on the same traces as `gateway.domain.simulation`, with one model to a worker, and know each worker's state
to the second. What they do follows the two programs that the project's design was chosen with.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from gateway.domain.simulation import Arrival, Played, Trace


@dataclass(slots=True)
class _Worker:
    number: int
    speed: float
    model: str = ""
    busy: bool = False
    ends: float = 0.0  # what it runs, as predicted
    queue: deque[tuple[int, float]] = field(default_factory=deque)
    queued: float = 0.0  # seconds that its queue will take
    last: str = ""  # the model that will be loaded after its queue


class _Game:
    """The clock, the workers and the record; a comparator says what happens on arrivals and ends."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.arrivals = trace.arrivals
        self.workers = [_Worker(number, speed) for number, speed in enumerate(trace.speeds.values())]
        self.models = [next(iter(arrival.models)) for arrival in trace.arrivals]
        self.events = [(arrival.at, 0, number) for number, arrival in enumerate(trace.arrivals)]
        self.played = Played([0.0] * len(trace.arrivals), [0.0] * len(trace.arrivals))

    def play(self, arrives: Callable[[int, float], None], falls_idle: Callable[[_Worker, float], None]) -> Played:
        heapify(self.events)
        while self.events:
            now, kind, number = heappop(self.events)
            if kind == 0:
                arrives(number, now)
            else:
                worker = self.workers[number]
                worker.busy = False
                falls_idle(worker, now)
        return self.played

    def load(self, number: int, model: str) -> float:
        """Seconds until this prompt's model is loaded where `model` is."""
        return 0.0 if self.models[number] == model else self.trace.loads[self.models[number]]

    def begin(self, worker: _Worker, number: int, now: float) -> None:
        arrival: Arrival = self.arrivals[number]
        loading = self.load(number, worker.model)
        running = arrival.seconds / worker.speed
        self.played.switches += worker.model != self.models[number]
        self.played.loading += loading
        self.played.running += running
        worker.model, worker.busy = self.models[number], True
        worker.ends = now + loading + arrival.predicted / worker.speed
        self.played.placed[number], self.played.done[number] = now, now + loading + running
        heappush(self.events, (now + loading + running, 1, worker.number))


def least_expected_time(trace: Trace) -> Played:
    """Each prompt joins, as it comes, the queue of the worker that is predicted to have it done first."""
    game = _Game(trace)

    def arrives(number: int, now: float) -> None:
        def cost(worker: _Worker) -> float:
            return game.load(number, worker.last) + trace.arrivals[number].predicted / worker.speed

        worker = min(game.workers, key=lambda w: max(0.0, w.ends - now) + w.queued + cost(w))
        seconds = cost(worker)
        worker.last = game.models[number]
        if worker.busy:
            worker.queue.append((number, seconds))
            worker.queued += seconds
        else:
            game.begin(worker, number, now)

    def falls_idle(worker: _Worker, now: float) -> None:
        if worker.queue:
            number, seconds = worker.queue.popleft()
            worker.queued = worker.queued - seconds if worker.queue else 0.0
            game.begin(worker, number, now)

    return game.play(arrives, falls_idle)


class _Clearing:
    """One queue; a worker serves the model that it has until nobody waits for it, then the one with the most need."""

    def __init__(self, trace: Trace) -> None:
        self.game = _Game(trace)
        self.waiting: dict[str, deque[int]] = {}

    def arrives(self, number: int, now: float) -> None:
        game = self.game
        self.waiting.setdefault(game.models[number], deque()).append(number)
        seconds = game.arrivals[number].seconds
        idle = [worker for worker in game.workers if not worker.busy]
        for worker in sorted(idle, key=lambda w: game.load(number, w.model) + seconds / w.speed):
            self.pull(worker, now)

    def falls_idle(self, worker: _Worker, now: float) -> None:
        self.pull(worker, now)
        for other in self.game.workers:
            if not other.busy:
                self.pull(other, now)

    def pull(self, worker: _Worker, now: float) -> None:
        if not self.waiting:
            return
        others = [other for other in self.game.workers if other is not worker]
        holders = {model: [w for w in others if w.model == model] for model in self.waiting}
        work = {model: sum(self.game.arrivals[n].seconds for n in group) for model, group in self.waiting.items()}

        def age(model: str) -> float:
            return now - self.game.arrivals[self.waiting[model][0]].at

        def need(model: str) -> float:
            return work[model] / (len(holders[model]) + 1 if holders[model] else 0.5) + age(model)

        best = max(sorted(self.waiting, key=lambda model: self.waiting[model][0]), key=need)
        load = self.game.trace.loads[best]
        hot = worker.model
        if hot in self.waiting and not (holders[hot] and need(best) > 4 * (need(hot) + load)):
            self.begin(worker, hot, now)
            return
        soonest = min((other.ends - now for other in holders[best]), default=float("inf"))
        if not (holders[best] and soonest + work[best] / len(holders[best]) < load and age(best) < load):
            self.begin(worker, best, now)

    def begin(self, worker: _Worker, model: str, now: float) -> None:
        self.game.begin(worker, self.waiting[model].popleft(), now)
        if not self.waiting[model]:
            del self.waiting[model]


def clearing(trace: Trace) -> Played:
    policy = _Clearing(trace)
    return policy.game.play(policy.arrives, policy.falls_idle)


class _Central:
    """One queue, of which the first 64 are weighed: predicted completion + β · loading, busy workers too."""

    WINDOW, MOST_BETA, BOUND = 64, 4.0, 120.0

    def __init__(self, trace: Trace) -> None:
        self.game = _Game(trace)
        self.waiting: list[int] = []
        self.wait = 20.0

    def arrives(self, number: int, now: float) -> None:
        self.waiting.append(number)
        self.dispatch(now)

    def falls_idle(self, worker: _Worker, now: float) -> None:
        self.dispatch(now)

    def dispatch(self, now: float) -> None:
        while self.waiting and not all(worker.busy for worker in self.game.workers) and self.one(now):
            pass

    def one(self, now: float) -> bool:
        game = self.game
        beta = min(self.MOST_BETA, len(self.waiting) / len(game.workers))
        free = [max(0.0, worker.ends - now) if worker.busy else 0.0 for worker in game.workers]
        models = [worker.model for worker in game.workers]
        for place, number in enumerate(self.waiting[: self.WINDOW]):
            predicted = game.arrivals[number].predicted
            loads = [game.load(number, model) for model in models]
            done = [f + load + predicted / w.speed for f, load, w in zip(free, loads, game.workers, strict=True)]
            best = min(range(len(done)), key=lambda w: done[w] + beta * loads[w])
            seconds = done[best]
            if game.workers[best].busy and now - game.arrivals[number].at > max(self.BOUND, 4 * self.wait):
                idle = [worker.number for worker in game.workers if not worker.busy]
                best = min(
                    idle, key=lambda w: game.load(number, game.workers[w].model) + predicted / game.workers[w].speed
                )
            if not game.workers[best].busy and free[best] == 0.0:
                del self.waiting[place]
                self.wait += 0.02 * (now - game.arrivals[number].at - self.wait)
                game.begin(game.workers[best], number, now)
                return True
            free[best], models[best] = seconds, game.models[number]
        return False


def central(trace: Trace) -> Played:
    policy = _Central(trace)
    return policy.game.play(policy.arrives, policy.falls_idle)
