"""The waiting prompts and the workers: told what happens, asked what follows. Pure; `now` is any clock's seconds.

Whose turn it is says the policy's `order`, which prompt goes where its `choose`; what they look at is kept here, such
that a decision costs as much as there are groups of prompts and free workers, whatever waits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from gateway.domain.demand import Demand
from gateway.domain.ids import PromptId, WorkerName
from gateway.domain.placement.estimates import Constant, Estimates, Model, Work
from gateway.domain.placement.farm import Farm
from gateway.domain.placement.groups import Entry, Group, Head
from gateway.domain.placement.lines import Lines
from gateway.domain.placement.policies import Pick, Policy
from gateway.domain.placement.spots import Spot, Spots, unfit
from gateway.domain.placement.waiting import Ahead, Chosen, Kind, Waiting
from gateway.domain.workers import Worker

ANYWHERE = WorkerName("")
"""What estimates are asked for of a prompt that may run on any worker."""

_SAMPLE = 8
"""Of a longer line so many stand for all, where it is asked how long it takes."""

EXPLAINED = 32
"""In a farm of more workers than this, a decision gives reasons only for those that came into question."""


class Placement:
    def __init__(self, policy: Policy, *, parallelism: int = 0, estimates: Estimates | None = None) -> None:
        """`parallelism`: how many prompts of one caller may run at a time; 0 is no limit."""
        self._policy = policy
        self._parallelism = parallelism
        self._estimates = estimates or Constant()
        self._running: dict[PromptId, str] = {}
        self._loads: Counter[str] = Counter()
        self._spots = Spots()
        self._lines = Lines(policy.order(), self._full, self._stuck, self._fitting)
        self._farm = Farm(self._spots, self._lines, self._estimates)

    def __len__(self) -> int:
        return len(self._lines)

    # what happens

    def worker_seen(self, worker: Worker) -> None:
        """A worker is new, or something about it changed. Workers are to be told of before what they run."""
        before = self._spots.all[worker.name].worker if worker.name in self._spots.all else None
        flipped = self._spots.seen(worker)
        if before is None or any(getattr(before, fact) != getattr(worker, fact) for fact in _INSTALLED):
            self._lines.refit(worker.name, lambda kind: _fits(kind, worker))
            flipped = True
        if flipped:
            self._lines.note_hard()

    def worker_gone(self, name: WorkerName) -> None:
        self._spots.gone(name)
        self._lines.forget(name)
        self._lines.note_hard()

    def waits(self, prompt: Waiting, now: float) -> None:
        """A prompt waits from now on; a slot that it held is free, and its time there is on the house."""
        self._free(prompt.id, now, refund=True)
        if (known := self._lines.get(prompt.id)) is not None:
            if known.prompt == prompt:
                return
            self._lines.cancel(prompt.id)
        else:
            self._farm.popularity.arrived(prompt.models)
        self._lines.add(prompt, now, self._estimates.run(prompt.work, ANYWHERE))

    def runs(self, prompt: Waiting, worker: WorkerName, now: float) -> None:
        """A worker's slot is taken for this prompt since `now`; told again when it begins to run there."""
        spot = self._spots.all.get(worker)
        if prompt.id in self._running and self._spots.holder(prompt.id) is spot:
            if spot is not None and now > spot.started:
                spot.until += now - spot.started
                spot.started = now
            return
        self._free(prompt.id, now, refund=True)
        self._running[prompt.id] = prompt.caller
        self._loads[prompt.caller] += 1
        cost = self._begin(prompt, spot, now) if spot is not None else self._estimates.run(prompt.work, ANYWHERE)
        entry = self._lines.serve(prompt, cost)
        if entry is not None:
            self._policy.placed(entry, now)

    def gone(self, id: PromptId, now: float) -> None:
        """A prompt neither waits nor runs any more."""
        self._lines.cancel(id)
        self._free(id, now, refund=False)

    def emptied(self, worker: WorkerName) -> None:
        """Its models are gone: it restarted, ran out of memory, or was told to free them."""
        self._spots.holds(worker, ())

    def holds(self, worker: WorkerName, models: Iterable[Model]) -> None:
        """It was seen to have just these loaded."""
        self._spots.holds(worker, list(models))

    def ends_at(self, id: PromptId, when: float) -> None:
        """What runs is now expected to end then, in seconds of the clock of `now`."""
        if (spot := self._spots.holder(id)) is not None:
            spot.until = when

    # what follows

    def decide(self, now: float) -> Chosen | None:
        """The next prompt to post and where, or None while nothing is to be placed."""
        if not self._spots.idle or not len(self._lines):
            return None
        pick = self._policy.choose(self._farm, self._lines.heads(), now)
        return None if pick is None else self._chosen(pick)

    def place(self, prompt: Waiting, now: float) -> Chosen | None:
        """A worker for a prompt that just came and does not wait yet, unless a waiting one could go there.

        With `parallelism` all wait for the one that drains the queue: two that place at once would both see room.
        """
        pool = self._lines.pool(prompt.kind)
        if self._parallelism or pool.able.isdisjoint(self._spots.idle):
            return None
        alone = Group(pool, prompt.models, count=1, served_at=self._lines.served)
        alone.seconds = self._estimates.run(prompt.work, ANYWHERE)
        entry = Entry(-prompt.priority, prompt.number, prompt.id, prompt, alone, now, alone.seconds)
        pick = self._policy.choose(self._farm, [Head(entry.band, 0.0, prompt.seq, entry)], now)
        if pick is None or any(
            pick.spot.name in group.pool.able and self._lines.first(group) is not None for group in self._lines.groups
        ):
            return None
        return self._chosen(pick)

    def able(self, demand: Demand) -> list[Worker]:
        """Every worker, up or away, whose installation can run such a prompt."""
        fitting = self._lines.pool((demand, frozenset())).able
        return [spot.worker for name, spot in self._spots.all.items() if name in fitting]

    def idle_for(self, worker: WorkerName, now: float) -> float:
        """Seconds since its last prompt of ours left it; 0 when it never had one."""
        spot = self._spots.all.get(worker)
        return now - spot.idle_since if spot and spot.idle_since and not spot.held else 0.0

    def explain(self, demand: Demand, *, taken: WorkerName | None = None) -> dict[WorkerName, str]:
        """For each worker but the `taken` one the reason that it does not run this prompt now."""
        return {name: self._reason(spot, demand) for name, spot in self._spots.all.items() if name != taken}

    def position(self, id: PromptId) -> int | None:
        """How many waiting prompts would be served before this one if every worker fitted all; None if it waits not."""
        entry = self._lines.get(id)
        if entry is None:
            return None
        return sum(self._lines.before(entry).values())

    def ahead(self, id: PromptId, takes: Callable[[Work], float]) -> Ahead | None:
        """What waits before this one for workers that it may run on, each counted with the share of its own workers
        that these are; None if it waits not. `takes` tells the seconds that a work takes."""
        entry = self._lines.get(id)
        if entry is None:
            return None
        mine = entry.group.pool.able & self._spots.open
        count = seconds = 0.0
        for caller, before in self._lines.before(entry).items():
            if not before:
                continue
            lines = list(self._lines.lines_of(caller))
            part = before / sum(len(line) for _, line in lines)
            for group, line in lines:
                if there := group.pool.able & self._spots.open:
                    number = part * len(line) * len(there & mine) / len(there)
                    some = line[:_SAMPLE]
                    count += number
                    seconds += number * sum(takes(each.prompt.work) for each in some) / len(some)
        return Ahead(count, seconds)

    def _chosen(self, pick: Pick) -> Chosen:
        prompt, taken = pick.entry.prompt, pick.spot.name
        if len(self._spots.all) <= EXPLAINED:
            reasons = self.explain(prompt.demand, taken=taken)
        else:
            reasons = {spot.name: self._reason(spot, prompt.demand) for spot, _ in pick.weighed if spot.name != taken}
        weighed = {spot.name: costs for spot, costs in pick.weighed}
        loads = {model.name: self._estimates.load(model, taken) for model in prompt.models}
        run, anywhere = self._farm.run(prompt, pick.spot), self._estimates.run(prompt.work, ANYWHERE)
        return Chosen(prompt.id, taken, reasons, pick.why, weighed, run, anywhere, loads)

    def _reason(self, spot: Spot, demand: Demand) -> str:
        if reason := spot.worker.refusal() or unfit(demand, spot.worker):
            return reason
        if spot.held:
            return "busy"
        if spot.worker.foreign:
            return f"busy with {spot.worker.foreign} prompts of others"
        return "another was preferred"

    def _begin(self, prompt: Waiting, spot: Spot, now: float) -> float:
        """What it will cost there, in seconds."""
        run, load = self._farm.run(prompt, spot), self._farm.load(prompt, spot)
        self._spots.take(spot, prompt.id, prompt.models)
        spot.started, spot.until = now, now + load + run
        if run > 0:
            spot.speed = self._estimates.run(prompt.work, ANYWHERE) / run or 1.0
        return load + run

    def _free(self, id: PromptId, now: float, *, refund: bool) -> None:
        caller = self._running.pop(id, None)
        if caller is None:
            return
        self._loads[caller] -= 1
        if not self._loads[caller]:
            del self._loads[caller]
        spot = self._spots.release(id, now)
        spent = 0.0 if refund or spot is None else max(0.0, now - spot.started)
        self._lines.order.ended(id, spent)
        self._lines.note(caller)

    def _full(self, caller: str) -> bool:
        return 0 < self._parallelism <= self._loads[caller] and caller != ""

    def _stuck(self, group: Group) -> bool:
        return group.pool.able.isdisjoint(self._spots.open)

    def _fitting(self, kind: Kind) -> set[WorkerName]:
        return {name for name, spot in self._spots.all.items() if _fits(kind, spot.worker)}


_INSTALLED = ("catalogue", "vram_total", "labels")


def _fits(kind: Kind, worker: Worker) -> bool:
    demand, refused_by = kind
    return worker.name not in refused_by and unfit(demand, worker) is None
