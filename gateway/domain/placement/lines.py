"""The waiting prompts: who waits in which line, and which prompt of each line comes next.

Prompts that fit the same workers and load the same models form a group; in it each caller has a line of its own, in
the order priority, number, prompt_id. A group's next prompt is the first of the caller whose turn it is. So a decision
looks at one prompt of each group, whatever waits.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from gateway.domain.ids import PromptId, WorkerName
from gateway.domain.placement.groups import OLDEST, Entry, Group, Head, Pool, in_service, turn_of
from gateway.domain.placement.order import Order
from gateway.domain.placement.waiting import Kind, Waiting

KEPT_KINDS = 512


@dataclass(slots=True)
class _Caller:
    groups: list[Group] = field(default_factory=list)
    count: int = 0
    hards: list[Entry] | None = None


class Lines:
    def __init__(
        self,
        order: Order,
        full: Callable[[str], bool],
        stuck: Callable[[Group], bool],
        fitting: Callable[[Kind], set[WorkerName]],
    ) -> None:
        """`full`: a caller may run no more; `stuck`: no worker that is there could take a group's prompts."""
        self.order = order
        self.served = 0
        self._full = full
        self._stuck = stuck
        self._fitting = fitting
        self._pools: dict[Kind, Pool] = {}
        self._entries: dict[PromptId, Entry] = {}
        self._callers: dict[str, _Caller] = {}
        self._hard: set[str] = set()
        self.groups: dict[Group, None] = {}
        """Those with prompts."""

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, id: PromptId) -> Entry | None:
        return self._entries.get(id)

    def pool(self, kind: Kind) -> Pool:
        pool = self._pools.get(kind)
        if pool is None:
            if len(self._pools) >= KEPT_KINDS:
                self._prune()
            pool = self._pools[kind] = self._pool_of(self._fitting(kind))
            pool.kinds[kind] = 0
        return pool

    def add(self, prompt: Waiting, now: float, seconds: float) -> None:
        pool = self.pool(prompt.kind)
        turned = self.order.came(prompt)
        self._enter(prompt, pool, now, seconds)
        if turned or prompt.caller in self._hard:
            self.note(prompt.caller)

    def remove(self, id: PromptId) -> Entry | None:
        """Out of its line; the order is not told."""
        entry = self._entries.get(id)
        if entry is not None:
            self._leave(entry)
        return entry

    def serve(self, prompt: Waiting, cost: float) -> Entry | None:
        """A prompt runs, whether it waited or not."""
        entry = self.remove(prompt.id)
        prompt = entry.prompt if entry is not None else prompt
        self.order.served(prompt, waited=entry is not None, cost=cost)
        self.served += 1
        if entry is not None:
            entry.group.served_at = self.served
        self.note(prompt.caller)
        return entry

    def cancel(self, id: PromptId) -> None:
        entry = self.remove(id)
        if entry is not None:
            self.order.left(entry.prompt)
            self.note(entry.prompt.caller)

    def note(self, caller: str) -> None:
        """Something about whose turn it is may have changed for this caller."""
        if (known := self._callers.get(caller)) is not None:
            key = self.order.key(caller)
            for group in known.groups:
                self._note(group, caller, known, key)

    def note_hard(self) -> None:
        """Which groups are stuck may have changed."""
        for caller in self._hard:
            self.note(caller)

    def heads(self) -> list[Head]:
        """The next prompt of each group that has one, in the order of service."""
        firsts = (entry for group in self.groups if (entry := self.first(group)) is not None)
        return in_service(map(self._head, firsts))

    def first(self, group: Group) -> Entry | None:
        """Its next prompt: of the callers that may run more, of the one whose turn it is."""
        firsts = group.firsts
        while firsts:
            band, key, turn, caller = firsts[0]
            line = group.lines.get(caller)
            if (
                line is not None
                and line[0].band == band
                and self.order.key(caller) == key
                and turn_of(line) == turn
                and self._may(line[0], self._callers[caller])
            ):
                return line[0]
            heappop(firsts)  # one that may not comes back when something about its caller changes
        return None

    def _head(self, entry: Entry) -> Head:
        caller = entry.prompt.caller
        return Head(entry.band, self.order.key(caller), turn_of(entry.group.lines[caller]), entry)

    def rank(self, entry: Entry) -> int:
        """How many of its caller's prompts precede it."""
        lines = (group.lines[entry.prompt.caller] for group in self._callers[entry.prompt.caller].groups)
        return sum(bisect_left(line, entry[:3]) for line in lines)

    def before(self, entry: Entry) -> dict[str, int]:
        """How many prompts of each caller are served before this one, if every worker fitted all."""
        return self.order.before(entry.prompt.caller, self.rank(entry))

    def lines_of(self, caller: str) -> Iterable[tuple[Group, list[Entry]]]:
        """A caller's lines."""
        return ((group, group.lines[caller]) for group in self._callers[caller].groups)

    @property
    def callers(self) -> int:
        return len(self._callers)

    def within(self, group: Group, last: float) -> int:
        """How many prompts of a group are of callers below this key; of the others the one with most is left out."""
        line = group.lines.get(group.longest)
        return group.count - len(line) if line and self.order.key(group.longest) >= last else group.count

    def refit(self, worker: WorkerName, fits: Callable[[Kind], bool]) -> None:
        """A worker is new or is installed otherwise: which kinds it fits may have changed."""
        for pool in list(dict.fromkeys(self._pools.values())):
            now = {kind: fits(kind) for kind in pool.kinds}
            for wanted in (True, False):
                kinds = [kind for kind, fit in now.items() if fit is wanted]
                if not kinds or (worker in pool.able) is wanted:
                    continue
                if len(kinds) == len(now):
                    (pool.able.add if wanted else pool.able.discard)(worker)
                else:
                    self._move(pool, kinds, pool.able ^ {worker})

    def forget(self, worker: WorkerName) -> None:
        for pool in dict.fromkeys(self._pools.values()):
            pool.able.discard(worker)

    def _move(self, pool: Pool, kinds: Iterable[Kind], able: set[WorkerName]) -> None:
        """Some kinds of a pool fit other workers than the rest from now on."""
        other, moved = self._pool_of(able), set(kinds)
        for kind in moved:
            other.kinds[kind] = pool.kinds.pop(kind)
            self._pools[kind] = other
        entries = [entry for group in pool.groups.values() for line in group.lines.values() for entry in line]
        for entry in entries:
            if entry.prompt.kind in moved:
                self._leave(entry)
                self._enter(entry.prompt, other, entry.since, entry.seconds)
        for caller in {entry.prompt.caller for entry in entries}:
            self.note(caller)

    def _enter(self, prompt: Waiting, pool: Pool, since: float, seconds: float) -> None:
        group = pool.groups.get(prompt.models)
        if group is None:
            group = pool.groups[prompt.models] = Group(pool, prompt.models)
        if not group.count:
            group.served_at = self.served
            self.groups[group] = None
        entry = Entry(-prompt.priority, prompt.number, prompt.id, prompt, group, since, seconds)
        caller = self._callers.setdefault(prompt.caller, _Caller())
        line = group.lines.get(prompt.caller)
        if line is None:
            line = group.lines[prompt.caller] = []
            caller.groups.append(group)
        insort(line, entry)
        if len(line) > len(group.lines.get(group.longest, ())):
            group.longest = prompt.caller
        self._entries[prompt.id] = entry
        group.count += 1
        group.seconds += seconds
        self._pools[prompt.kind].kinds[prompt.kind] += 1
        caller.count += 1
        if prompt.hard:
            caller.hards = caller.hards or []
            insort(caller.hards, entry)
            self._hard.add(prompt.caller)
        if any(early is entry for early in line[:OLDEST]):
            self._note(group, prompt.caller, caller, self.order.key(prompt.caller))

    def _leave(self, entry: Entry) -> None:
        prompt, group = entry.prompt, entry.group
        caller = self._callers[prompt.caller]
        del self._entries[prompt.id]
        line = group.lines[prompt.caller]
        _take(line, entry)
        group.count -= 1
        group.seconds = group.seconds - entry.seconds if group.count else 0.0
        self._pools[prompt.kind].kinds[prompt.kind] -= 1
        caller.count -= 1
        if prompt.hard and caller.hards:
            _take(caller.hards, entry)
            if not caller.hards:
                caller.hards = None
                self._hard.discard(prompt.caller)
        if not line:
            del group.lines[prompt.caller]
            caller.groups.remove(group)
        if not caller.count:
            del self._callers[prompt.caller]
        if not group.count:
            group.firsts.clear()
            del self.groups[group]
            del group.pool.groups[group.models]

    def _note(self, group: Group, name: str, caller: _Caller, key: float) -> None:
        line = group.lines[name]
        if self._may(line[0], caller):
            heappush(group.firsts, (line[0].band, key, turn_of(line), name))
            if len(group.firsts) > 2 * len(group.lines) + 64:
                group.firsts = [
                    (line[0].band, self.order.key(each), turn_of(line), each)
                    for each, line in group.lines.items()
                    if self._may(line[0], self._callers[each])
                ]
                heapify(group.firsts)

    def _may(self, entry: Entry, caller: _Caller) -> bool:
        """Whether it is for its caller to run this one next: not past a hard one, which itself passes nobody."""
        if self._full(entry.prompt.caller):
            return False
        if caller.hards is None:
            return True
        first = next((hard for hard in caller.hards if not self._stuck(hard.group)), None)
        if first is None or entry[:3] < first[:3]:
            return not entry.prompt.hard or first is None
        if entry is not first:
            return False
        before = (group for group in caller.groups if group.lines[entry.prompt.caller][0][:3] < entry[:3])
        return all(self._stuck(group) for group in before)

    def _pool_of(self, able: set[WorkerName]) -> Pool:
        known = (pool for pool in self._pools.values() if pool.able == able)
        return next(known, None) or Pool(set(able))

    def _prune(self) -> None:
        """Kinds outlive their prompts, for the next of the same kind; only so many of them."""
        for kind, pool in list(self._pools.items()):
            if not pool.kinds[kind]:
                del self._pools[kind], pool.kinds[kind]


def _take(line: list[Entry], entry: Entry) -> None:
    del line[bisect_left(line, entry[:3])]
