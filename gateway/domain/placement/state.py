"""The waiting prompts, grouped by what they need, and the workers they could go to.

Prompts of one demand form a group; whether a worker fits a group is worked out once, when either is new. So a
decision costs (groups × workers), whatever waits. Order: the caller whose earliest turn comes first, then that
caller's own order (number, then prompt_id, as ComfyUI's heap has it). A turn is a place in the farm's line that
a caller got by submitting; `front` and `number` move prompts among their caller's turns and never past another's.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush

from gateway.domain.demand import Demand
from gateway.domain.ids import PromptId, WorkerName
from gateway.domain.placement.estimates import Model
from gateway.domain.placement.policies import Policy
from gateway.domain.placement.spots import Spot, unfit
from gateway.domain.placement.waiting import Chosen, Kind, Waiting
from gateway.domain.workers import Down, Worker

KEPT_GROUPS = 512


@dataclass(slots=True)
class _Group:
    """The waiting prompts of one demand, by caller, and the workers that can run them."""

    demand: Demand
    refused_by: frozenset[WorkerName]
    able: set[WorkerName] = field(default_factory=set)
    lines: dict[str, list[tuple[float, str, Waiting]]] = field(default_factory=dict)
    firsts: list[tuple[int, str]] = field(default_factory=list)
    """A heap of the first turn of each caller in `lines`; turns that are used up stay until they come to the top."""


class Placement:
    def __init__(self, policy: Policy, *, parallelism: int = 0) -> None:
        """`parallelism`: how many prompts of one caller may run at a time; 0 is no limit."""
        self._policy = policy
        self._parallelism = parallelism
        self._running: dict[PromptId, str] = {}
        self._loads: Counter[str] = Counter()
        self._spots: dict[WorkerName, Spot] = {}
        self._groups: dict[Kind, _Group] = {}
        self._waiting: dict[PromptId, Waiting] = {}
        self._turns: dict[str, list[int]] = {}
        self._holder: dict[PromptId, WorkerName] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    # what happens

    def worker_seen(self, worker: Worker) -> None:
        """A worker is new, or something about it changed. Workers are to be told of before what they run."""
        spot = self._spots.get(worker.name)
        if spot is None:
            spot = self._spots[worker.name] = Spot(worker)
            changed = True
        else:
            before, spot.worker = spot.worker, worker
            if isinstance(worker.liveness, Down):
                spot.warm = frozenset()
            changed = any(
                getattr(before, fact) != getattr(worker, fact) for fact in ("catalogue", "vram_total", "labels")
            )
        if changed:
            for group in self._groups.values():
                self._refit(group, worker)

    def worker_gone(self, name: WorkerName) -> None:
        spot = self._spots.pop(name, None)
        for id in spot.held if spot else ():
            self._holder.pop(id, None)
        for group in self._groups.values():
            group.able.discard(name)

    def waits(self, prompt: Waiting, now: float) -> None:
        """A prompt waits from now on; a slot that it held is free."""
        self._free(prompt.id, now)
        if (known := self._waiting.get(prompt.id)) is not None:
            if known == prompt:
                return
            self._waits_no_more(prompt.id, turn=-1)
        self._waiting[prompt.id] = prompt
        group = self._group(prompt.kind)
        line, turns = group.lines.setdefault(prompt.caller, []), self._turns.setdefault(prompt.caller, [])
        insort(line, (*prompt.order, prompt))
        insort(turns, prompt.seq)
        if turns[0] == prompt.seq and len(turns) > 1:
            self._first_changed(prompt.caller)
        elif len(line) == 1:
            self._note_first(group, prompt.caller)

    def runs(self, id: PromptId, worker: WorkerName, demand: Demand, caller: str = "") -> None:
        """A worker's slot is taken for this prompt, which waits no more and has used its caller's first turn up."""
        self._waits_no_more(id, turn=0)
        if self._holder.get(id) != worker:
            self._free(id, self._spots[worker].idle_since if worker in self._spots else 0.0)
        if id not in self._running:
            self._running[id] = caller
            self._loads[caller] += 1
        if (spot := self._spots.get(worker)) is not None:
            self._holder[id] = worker
            spot.held.add(id)
            spot.warm = demand.models or spot.warm

    def gone(self, id: PromptId, now: float) -> None:
        """A prompt neither waits nor runs any more."""
        self._waits_no_more(id, turn=-1)
        self._free(id, now)

    def _waits_no_more(self, id: PromptId, *, turn: int) -> None:
        prompt = self._waiting.pop(id, None)
        if prompt is None:
            return
        group = self._groups[prompt.kind]
        line = group.lines[prompt.caller]
        line.remove((*prompt.order, prompt))
        if not line:
            del group.lines[prompt.caller]
        if not group.lines:
            group.firsts.clear()
        turns = self._turns[prompt.caller]
        turns.pop(turn)
        if not turns:
            del self._turns[prompt.caller]
        elif turn == 0:
            self._first_changed(prompt.caller)

    def _first_changed(self, caller: str) -> None:
        for group in self._groups.values():
            if caller in group.lines:
                self._note_first(group, caller)

    def _note_first(self, group: _Group, caller: str) -> None:
        heappush(group.firsts, (self._turns[caller][0], caller))
        if len(group.firsts) > 2 * len(group.lines) + 64:
            group.firsts = sorted((self._turns[each][0], each) for each in group.lines)

    def _first_caller(self, group: _Group) -> str | None:
        """Of those with a prompt in this group that may run more, the one whose turn comes first."""
        while group.firsts:
            turn, caller = group.firsts[0]
            if caller in group.lines and self._turns[caller][0] == turn and not self._full(caller):
                return caller
            heappop(group.firsts)  # one that is full comes back when a prompt of its ends
        return None

    def _full(self, caller: str) -> bool:
        return 0 < self._parallelism <= self._loads[caller] and caller != ""

    def _free(self, id: PromptId, now: float) -> None:
        if (caller := self._running.pop(id, None)) is not None:
            self._loads[caller] -= 1
            if not self._loads[caller]:
                del self._loads[caller]
            if self._parallelism and caller in self._turns:
                self._first_changed(caller)
        spot = self._spots.get(self._holder.pop(id, WorkerName("")))
        if spot is not None:
            spot.held.discard(id)
            spot.idle_since = now

    def emptied(self, worker: WorkerName) -> None:
        """Its models are gone: it restarted, ran out of memory, or was told to free them."""
        if (spot := self._spots.get(worker)) is not None:
            spot.warm = frozenset()

    def holds(self, worker: WorkerName, models: Iterable[Model]) -> None:
        """It was seen to have just these loaded, the least recently used first."""
        if (spot := self._spots.get(worker)) is not None:
            spot.warm = frozenset(model.name for model in models)

    def ends_at(self, id: PromptId, when: float) -> None:
        """What runs is now expected to end then, in seconds of the clock of `now`."""
        spot = self._spots.get(self._holder.get(id, WorkerName("")))
        if spot is not None:
            spot.until = when

    # what follows

    def decide(self) -> Chosen | None:
        """The next prompt to post and where, or None while nothing can be placed."""
        for group, prompt in self._heads():
            if (spot := self._pick(group.demand, group.able)) is not None:
                return Chosen(prompt.id, spot.name, self.explain(prompt.demand, taken=spot.name))
        return None

    def place(
        self, demand: Demand, caller: str = "", *, refused_by: frozenset[WorkerName] = frozenset()
    ) -> Chosen | None:
        """A worker for a prompt that just came and does not wait yet, unless a waiting one could go there."""
        if self._full(caller):
            return None
        spot = self._pick(demand, self._group((demand, refused_by)).able)
        if spot is None or any(
            spot.name in g.able and self._first_caller(g) is not None for g in self._groups.values()
        ):
            return None
        return Chosen(PromptId(""), spot.name, self.explain(demand, taken=spot.name))

    def able(self, demand: Demand) -> list[Worker]:
        """Every worker, up or away, whose installation can run such a prompt."""
        fitting = self._group((demand, frozenset())).able
        return [spot.worker for name, spot in self._spots.items() if name in fitting]

    def idle_for(self, worker: WorkerName, now: float) -> float:
        """Seconds since its last prompt of ours left it; 0 when it never had one."""
        spot = self._spots.get(worker)
        return now - spot.idle_since if spot and spot.idle_since and not spot.held else 0.0

    def explain(self, demand: Demand, *, taken: WorkerName | None = None) -> dict[WorkerName, str]:
        """For each worker but the `taken` one the reason that it does not run this prompt now."""
        return {name: self._reason(spot, demand) for name, spot in self._spots.items() if name != taken}

    def position(self, id: PromptId) -> int | None:
        """How many waiting prompts would be served before this one if every worker fitted all; None if it waits not."""
        prompt = self._waiting.get(id)
        if prompt is None:
            return None
        turn = self._turns[prompt.caller][self._rank(prompt)]
        return sum(1 for turns in self._turns.values() for t in turns if t < turn)

    def _rank(self, prompt: Waiting) -> int:
        lines = (g.lines.get(prompt.caller, []) for g in self._groups.values())
        return sum(1 for line in lines for entry in line if entry[:2] < prompt.order)

    def _heads(self) -> Iterator[tuple[_Group, Waiting]]:
        """The first prompt of each group that has a free worker, in the order in which they are to be served."""
        heads: list[tuple[int, tuple[float, str], _Group, Waiting]] = []
        for group in self._groups.values():
            if group.lines and any(self._spots[name].free for name in group.able):
                if (caller := self._first_caller(group)) is None:
                    continue
                prompt = group.lines[caller][0][2]
                heads.append((self._turns[caller][0], prompt.order, group, prompt))
        heads.sort(key=lambda head: head[:2])
        for _, _, group, prompt in heads:
            yield group, prompt

    def _pick(self, demand: Demand, able: set[WorkerName]) -> Spot | None:
        willing = [self._spots[name] for name in able if self._spots[name].worker.refusal() is None]
        return self._policy.pick(demand, willing)

    def _reason(self, spot: Spot, demand: Demand) -> str:
        if reason := spot.worker.refusal() or unfit(demand, spot.worker):
            return reason
        if spot.held:
            return "busy"
        if spot.worker.foreign:
            return f"busy with {spot.worker.foreign} prompts of others"
        return "another was preferred"

    def _group(self, kind: Kind) -> _Group:
        group = self._groups.get(kind)
        if group is None:
            self._prune()
            group = self._groups[kind] = _Group(*kind)
            for spot in self._spots.values():
                self._refit(group, spot.worker)
        return group

    def _prune(self) -> None:
        """Groups outlive their prompts, for the next of the same kind; only so many of them."""
        if len(self._groups) >= KEPT_GROUPS:
            for kind in [kind for kind, group in self._groups.items() if not group.lines]:
                del self._groups[kind]

    def _refit(self, group: _Group, worker: Worker) -> None:
        if worker.name not in group.refused_by and unfit(group.demand, worker) is None:
            group.able.add(worker.name)
        else:
            group.able.discard(worker.name)
