"""The policy `expected-completion`: each prompt where it is predicted to be done first, weighed over all groups.

In predicted seconds, for a prompt on a worker: until the worker is free + loading what it lacks + running = F, and
score = F + β · loading, for whoever loads a model makes all wait that come after. β is the number of waiting prompts
to a worker, so that a busy farm switches models less. From this follows what is done with a free worker:

1. A group that was passed over too often takes it (`_aged`). The bound is 8 prompts to a worker or 4 times what
   waits, whichever is more: one that does not grow with the queue makes a busy farm first come, first served, and it
   then loads models more than it runs.
2. Else the next prompt whose models it has (`_resident`): groups are served until they are empty.
3. Else a group whose models are to be loaded (`_switch`), unless all of it is predicted to be done earlier by busy
   workers that hold them; then it waits for those, and what it will take of their time counts for the groups after
   it. Of several groups the one with the most work waiting goes first, its age counted in. Of several workers the
   one is taken where the loss of what has to go for it is the smallest (`Farm.regret`).

Fairness goes before: groups whose next caller is ahead of the others by more than a slack come after all others, and
do not count in β, in the bound, or in what waits for a worker. The slack grows with how long callers wait for a turn,
for the same reason as the bound. Where nothing has to be loaded, or there is one worker, all this comes to the order
of service.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from gateway.domain.ids import PromptId
from gateway.domain.placement.farm import Farm
from gateway.domain.placement.groups import Entry, Group, Head
from gateway.domain.placement.order import ROUND, Order, Shares
from gateway.domain.placement.policies import Pick
from gateway.domain.placement.spots import Spot
from gateway.domain.placement.waiting import Waiting, Weighed, Why

PASSED_PER_WORKER, PASSED_PER_WAITING = 8, 4
SLACK, SLACK_IN_WAITS = 60.0, 16.0
MOST_BETA = 16.0
NEGLIGIBLE = 0.1
"""Loading that takes less than this share of the run is no reason to pass anybody over."""

_KEPT = 4096
_EXPLAINED = 8
_ASKED = 32
"""Of more workers that hold a model than this, so many stand for all."""


@dataclass(slots=True)
class _Look:
    """One decision under way; `until` is when workers will be free of what is to wait for them."""

    farm: Farm
    now: float
    last: float
    """Callers with keys below this are looked at."""
    waiting: int
    bound: float
    until: dict[str, float] = field(default_factory=dict)

    def beta(self, own: int) -> float:
        """How many prompts wait to a worker; of the `own` of a group that gains a worker, at most one to each."""
        workers = len(self.farm.spots.open)
        return min(MOST_BETA, (max(0, self.waiting - own) + min(own, workers)) / workers)

    def within(self, group: Group) -> int:
        return self.farm.lines.within(group, self.last) if group.lines else group.count

    def free_in(self, spot: Spot) -> float:
        until = self.until.get(spot.worker.name, spot.until) if spot.held else 0.0
        return until - self.now if until > self.now else 0.0


class ExpectedCompletion:
    def __init__(self) -> None:
        self._wait = 0.0
        self._served: dict[str, float] = {}
        self._deferred: dict[PromptId, None] = {}

    def order(self) -> Order:
        return Shares()

    def choose(self, farm: Farm, heads: Sequence[Head], now: float) -> Pick | None:
        if not farm.spots.idle:
            return None
        if len(farm.spots.open) < 2:
            return self._in_turn(farm, heads)
        able = (head for head in heads if not head.entry.group.pool.able.isdisjoint(farm.spots.idle))
        for _, band in groupby(able, key=lambda head: head.band):
            if (pick := self._in_band(farm, list(band), now)) is not None:
                return pick
        return None

    def placed(self, entry: Entry, now: float) -> None:
        """Keeps the mean of how long callers wait for a turn: not for their own prompts before it."""
        self._deferred.pop(entry.id, None)
        caller = entry.prompt.caller
        began = max(entry.since, self._served.pop(caller, entry.since))
        self._served[caller] = now
        if len(self._served) > _KEPT:
            del self._served[next(iter(self._served))]
        self._wait += 0.02 * (now - began - self._wait)

    def _in_turn(self, farm: Farm, heads: Iterable[Head]) -> Pick | None:
        """With one worker there is nothing to weigh."""
        spot = next(iter(farm.spots.idle.values()))
        able = (head.entry for head in heads if spot.name in head.entry.group.pool.able)
        entry = next(able, None)
        return None if entry is None else Pick(entry, spot, Why.TURN)

    def _in_band(self, farm: Farm, heads: list[Head], now: float) -> Pick | None:
        """Of one priority; `heads` are in the order of service, so that the first is furthest behind its share."""
        last = heads[0].key + self._slack(farm) / ROUND
        due = [head.entry for head in heads if head.key < last]
        rest = [head.entry for head in heads if head.key >= last]
        look = self._look(farm, now, last)
        if (pick := self._among(look, due)) is not None:
            return pick
        look = replace(look, last=float("inf"))
        return (self._among(look, rest) if rest else None) or self._behind_others(look, due + rest)

    def _among(self, look: _Look, entries: list[Entry]) -> Pick | None:
        return self._aged(look, entries) or self._resident(look, entries) or self._switch(look, entries)

    def _slack(self, farm: Farm) -> float:
        """By how many seconds of the farm a caller may be ahead of another before that one's prompts go first."""
        share = self._wait * len(farm.spots.open) / max(1, farm.lines.callers)
        return max(SLACK, SLACK_IN_WAITS * share)

    def _look(self, farm: Farm, now: float, last: float) -> _Look:
        workers, waiting = len(farm.spots.open), sum(farm.lines.within(group, last) for group in farm.lines.groups)
        bound = max(PASSED_PER_WORKER * workers, PASSED_PER_WAITING * waiting)
        return _Look(farm, now, last, waiting, bound)

    def _aged(self, look: _Look, entries: Iterable[Entry]) -> Pick | None:
        served = look.farm.lines.served
        passed = [e for e in entries if served - e.group.served_at > look.bound]
        for entry in sorted(passed, key=lambda e: e.group.served_at):
            if near := look.farm.near(entry.group):
                return self._best(look, entry, near, Why.AGED)
        return None

    def _resident(self, look: _Look, entries: Iterable[Entry]) -> Pick | None:
        farm = look.farm
        for entry in entries:
            ready = [
                spot
                for spot in farm.near(entry.group)
                if farm.load(entry.prompt, spot) <= NEGLIGIBLE * farm.run(entry.prompt, spot)
            ]
            if ready:
                why = Why.WAITED if entry.id in self._deferred else Why.RESIDENT if entry.group.models else Why.IDLE
                return self._best(look, entry, ready, why)
        return None

    def _switch(self, look: _Look, entries: Iterable[Entry]) -> Pick | None:
        best: tuple[float, Entry, list[Spot]] | None = None
        for entry in entries:
            near = look.farm.near(entry.group)
            if not near:
                continue
            need = self._need(look, entry, near)
            if need is None:
                self._defer(entry)
            elif best is None or need > best[0]:
                best = need, entry, near
        return None if best is None else self._best(look, best[1], best[2], Why.SWITCH)

    def _defer(self, entry: Entry) -> None:
        self._deferred[entry.id] = None
        if len(self._deferred) > _KEPT:
            del self._deferred[next(iter(self._deferred))]

    def _need(self, look: _Look, entry: Entry, near: list[Spot]) -> float | None:
        """How much a group needs a worker more; None when its prompts had better wait for busy ones."""
        farm, group, prompt = look.farm, entry.group, entry.prompt
        within = look.within(group)
        age, mean = look.now - entry.since, group.seconds / group.count
        waiting = mean * within
        asked, held = farm.busy(group, _ASKED)
        if not asked:
            return 2 * waiting + age
        spot, load, run = self._soonest(farm, prompt, near)
        speed = begun = 0.0
        first, reserved, now = float("inf"), look.until, look.now
        for s in asked:  # the innermost loop of a decision
            free_in = (reserved.get(s.worker.name, s.until) if reserved else s.until) - now
            free_in = free_in if free_in > 0.0 else 0.0
            speed += s.speed
            begun += free_in * s.speed
            ends = free_in + entry.seconds / s.speed
            if ends < first:
                first = ends
        begun /= speed
        speed *= held / len(asked)
        done = max(first, begun + (waiting - mean + entry.seconds) / speed)
        if done <= load * (1 + look.beta(within)) + run:
            several = [s.worker.name for s in asked if len(s.warm) > 1]  # which other groups may wait for as well
            look.until.update(dict.fromkeys(several, now + begun + waiting / speed))
            return None
        return waiting * spot.speed / (speed + spot.speed) + age

    def _soonest(self, farm: Farm, prompt: Waiting, near: list[Spot]) -> tuple[Spot, float, float]:
        """The free worker that would have it done first, with its seconds of loading and of running there."""
        costs = [(spot, farm.load(prompt, spot), farm.run(prompt, spot)) for spot in near]
        return costs[0] if len(costs) == 1 else min(costs, key=lambda cost: cost[1] + cost[2])

    def _behind_others(self, look: _Look, entries: Iterable[Entry]) -> Pick | None:
        """On one that is slow to answer or has prompts of others, if that is sooner than to wait for a good one."""
        for entry in entries:
            uneasy = look.farm.uneasy(entry.group)
            if not uneasy or look.farm.near(entry.group):
                continue
            there = look.farm.spots.open & entry.group.pool.able - look.farm.spots.idle.keys()
            wait = min((look.free_in(look.farm.spots.all[name]) for name in there), default=float("inf"))
            if sooner := [spot for spot in uneasy if spot.worker.foreign * entry.seconds <= wait]:
                return self._best(look, entry, sooner, Why.IDLE)
        return None

    def _best(self, look: _Look, entry: Entry, spots: Sequence[Spot], why: Why) -> Pick:
        farm, prompt = look.farm, entry.prompt

        def rank(spot: Spot) -> tuple[bool, float, int, float]:
            seconds = farm.load(prompt, spot) + farm.run(prompt, spot) + farm.regret(prompt, spot)
            return (spot.suspect, spot.worker.foreign * entry.seconds + seconds, -spot.vram_free, spot.idle_since)

        spot = min(spots, key=rank)
        if len(entry.group.pool.able) == 1:
            why = Why.ONLY_ONE
        return Pick(entry, spot, why, self._weighed(look, entry, spot, spots))

    def _weighed(
        self, look: _Look, entry: Entry, taken: Spot, spots: Sequence[Spot]
    ) -> tuple[tuple[Spot, Weighed], ...]:
        """Of the workers that came into question, the one taken first."""
        holders, _ = look.farm.busy(entry.group, _EXPLAINED)
        some = dict.fromkeys(s.name for s in (taken, *spots[:_EXPLAINED], *holders))
        beta = look.beta(look.within(entry.group))
        found = []
        for spot in (look.farm.spots.all[name] for name in some):
            load, run = look.farm.load(entry.prompt, spot), look.farm.run(entry.prompt, spot)
            free_in = look.free_in(spot) + spot.worker.foreign * entry.seconds
            found.append((spot, Weighed(free_in, load, run, free_in + run + load * (1 + beta))))
        return tuple(found)
