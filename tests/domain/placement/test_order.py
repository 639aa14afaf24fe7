"""Whose turn it is (DESIGN section 5), against models too simple to be wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.ids import PromptId, WorkerName
from gateway.domain.placement import RoundRobin, Waiting
from gateway.domain.placement.spots import unfit
from gateway.domain.workers import Down, Worker
from tests.domain.placement.makers import offering, placement, runs, served, waiting, wants, worker

MODELS = ("a", "b", "c")
BOUNDED = settings(deadline=None, derandomize=True, max_examples=60)

numbers = st.sampled_from([0.0, -1.0, -7.0, 2.5, 3.0]) | st.none()


def prompts(*callers: str, at_least: int = 0, at_most: int) -> st.SearchStrategy[list[Waiting]]:
    """In the order of their arrival; `front` and explicit numbers among them, and ids that do not follow it."""
    each = st.tuples(st.sampled_from(callers), numbers, st.sampled_from(MODELS), st.integers(0, 999))

    def made(rows: list[tuple[str, float | None, str, int]]) -> list[Waiting]:
        return [
            waiting(f"{mixed:03}-{seq}", seq, caller=caller, number=number, demand=wants(model))
            for seq, (caller, number, model, mixed) in enumerate(rows)
        ]

    return st.lists(each, min_size=at_least, max_size=at_most).map(made)


def drained(callers: list[str], found: list[Waiting]) -> list[str]:
    """`callers` take turns as listed, each with its own prompts by number, then id."""
    own: dict[str, Iterator[Waiting]] = {
        caller: iter(sorted((p for p in found if p.caller == caller), key=lambda p: p.order)) for caller in callers
    }
    return [next(own[caller]).id for caller in callers]


@BOUNDED
@given(prompts("me", at_most=25))
def test_one_client_on_one_worker_gets_exactly_comfyuis_order(found: list[Waiting]) -> None:
    state = placement(worker("x"))
    for prompt in found:
        state.waits(prompt, 0.0)
    assert [id for id, _ in served(state)] == [p.id for p in sorted(found, key=lambda p: (p.number, p.id))]


@BOUNDED
@given(prompts("me", at_most=25), st.lists(st.booleans(), max_size=60))
def test_that_order_holds_while_prompts_come_and_go(found: list[Waiting], steps: list[bool]) -> None:
    """A heap of (number, id), as ComfyUI's queue is one."""
    state = placement(worker("x"))
    heap: list[tuple[float, str]] = []
    arriving = iter(found)
    for comes in steps:
        if not comes:
            chosen = state.decide(0.0)
            assert (chosen and chosen.id) == (heappop(heap)[1] if heap else None)
            if chosen:
                runs(state, chosen.id, chosen.worker, wants())
                state.gone(chosen.id, 1.0)
        elif prompt := next(arriving, None):
            heappush(heap, prompt.order)
            state.waits(prompt, 0.0)


@BOUNDED
@given(prompts("ann", "bob", "cay", at_most=25))
def test_callers_take_turns_as_they_came_whatever_numbers_they_give(found: list[Waiting]) -> None:
    state = placement(worker("x"))
    for prompt in found:
        state.waits(prompt, 0.0)
    expected = drained([p.caller for p in found], found)
    assert [state.position(p.id) for p in found] == [expected.index(p.id) for p in found]
    assert [id for id, _ in served(state)] == expected


def test_a_front_prompt_never_overtakes_what_another_sent_earlier() -> None:
    state = placement(worker("x"))
    state.waits(waiting("ann-1", 1, caller="ann"), 0.0)
    state.waits(waiting("bob-1", 2, caller="bob"), 0.0)
    state.waits(waiting("ann-front", 3, caller="ann", number=-3), 0.0)
    assert [id for id, _ in served(state)] == ["ann-front", "bob-1", "ann-1"]


@BOUNDED
@given(prompts("ann", "bob", at_most=15), st.sets(st.integers(0, 14)))
def test_who_cancels_gives_up_the_last_of_its_turns(found: list[Waiting], cancelled: set[int]) -> None:
    state = placement(worker("x"))
    turns = [p.caller for p in found]
    for prompt in found:
        state.waits(prompt, 0.0)
    for prompt in [p for seq, p in enumerate(found) if seq in cancelled]:
        state.gone(prompt.id, 0.0)
        del turns[len(turns) - 1 - turns[::-1].index(prompt.caller)]
    left = [p for seq, p in enumerate(found) if seq not in cancelled]
    assert [id for id, _ in served(state)] == drained(turns, left)


def test_a_position_is_of_those_that_wait() -> None:
    state = placement(worker("x"))
    state.waits(waiting("p", 1), 0.0)
    assert state.position(PromptId("p")) == 0
    runs(state, PromptId("p"), WorkerName("x"), wants("a"))
    assert state.position(PromptId("p")) is None
    assert state.position(PromptId("unknown")) is None


FARM = [worker("x", catalogue=offering("a", "b")), worker("y", catalogue=offering("b")), worker("z")]


@dataclass
class Plain:
    """The same rules with nothing indexed: all prompts are looked at, and all workers."""

    workers: dict[str, Worker] = field(default_factory=lambda: {str(w.name): w for w in FARM})
    waiting: dict[str, Waiting] = field(default_factory=dict)
    turns: dict[str, list[int]] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)

    def waits(self, prompt: Waiting) -> None:
        self.held.pop(prompt.id, None)
        if prompt.id not in self.waiting:
            self.turns[prompt.caller] = sorted([*self.turns.get(prompt.caller, []), prompt.seq])
        self.waiting[prompt.id] = prompt

    def leaves(self, id: str, turn: int) -> None:
        if prompt := self.waiting.pop(id, None):
            self.turns[prompt.caller].pop(turn)

    def decide(self) -> str | None:
        for prompt in sorted(self.waiting.values(), key=lambda p: (self.turns[p.caller][0], p.order)):
            if any(self._takes(name, prompt) for name in self.workers):
                return prompt.id
        return None

    def _takes(self, name: str, prompt: Waiting) -> bool:
        who = self.workers[name]
        free = name not in self.held.values() and name not in prompt.refused_by
        return free and who.refusal() is None and unfit(prompt.demand, who) is None


actions = st.lists(st.tuples(st.sampled_from(["waits", "runs", "ends", "requeued", "flips"]), st.integers(0, 99)))


@settings(BOUNDED, max_examples=150)
@given(prompts("ann", "bob", "cay", at_least=5, at_most=20), actions)
@pytest.mark.parametrize("refused", ["", "x"])
def test_whatever_happens_the_next_is_the_one_that_a_plain_look_at_all_would_find(
    refused: str, found: list[Waiting], actions: list[tuple[str, int]]
) -> None:
    plain, state = Plain(), placement(*FARM, policy=RoundRobin())
    found = [*found, *(waiting(f"r{p.id}", p.seq + 50, caller=p.caller, demand=p.demand, no=refused) for p in found)]
    arriving, known = iter(found), {p.id: p for p in found}
    for action, pick in actions:
        if action == "waits" and (prompt := next(arriving, None)):
            state.waits(prompt, 0.0)
            plain.waits(prompt)
        elif action == "runs" and (chosen := state.decide(0.0)):
            runs(state, chosen.id, chosen.worker, wants())
            plain.leaves(chosen.id, 0)
            plain.held[chosen.id] = chosen.worker
        elif action == "ends" and (over := [*plain.held, *plain.waiting]):
            id = PromptId(over[pick % len(over)])
            state.gone(id, 0.0)
            plain.leaves(id, -1)
            plain.held.pop(id, None)
        elif action == "requeued" and plain.held:
            prompt = known[PromptId([*plain.held][pick % len(plain.held)])]
            state.waits(prompt, 0.0)
            plain.waits(prompt)
        elif action == "flips":
            now = FARM[pick % 3]
            down = plain.workers[now.name] is now
            seen = worker(now.name, catalogue=now.catalogue, liveness=Down(1.0)) if down else now
            state.worker_seen(seen)
            plain.workers[now.name] = seen
        chosen = state.decide(0.0)
        assert (chosen and chosen.id) == plain.decide()
        assert len(state) == len(plain.waiting)
