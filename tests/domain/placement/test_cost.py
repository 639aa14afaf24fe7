"""A decision costs groups × workers, whatever waits."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from gateway.domain.ids import PromptId, WorkerName
from gateway.domain.placement import Constant, ExpectedCompletion, Model, Placement, Waiting, Why
from tests.domain.placement.makers import offering, placement, runs, waiting, wants, worker

WORKERS, GROUPS, FEW, MANY = 1_000, 12, 1_000, 100_000
DEMANDS = [wants(f"m{number}") for number in range(GROUPS)]


def arrivals(count: int) -> Iterator[Waiting]:
    """Ten of each caller, one caller after the other."""
    for seq in range(count):
        yield waiting(f"p{seq}", seq, caller=f"c{seq // 10}", demand=DEMANDS[seq % GROUPS])


def crowded(count: int) -> Placement:
    everything = offering(*(f"m{number}" for number in range(GROUPS)))
    state = placement(*(worker(f"w{number}", catalogue=everything) for number in range(WORKERS)))
    for prompt in arrivals(count):
        state.waits(prompt, 0.0)
    return state


@pytest.fixture(scope="module")
def crowds() -> tuple[Placement, Placement]:
    return crowded(FEW), crowded(MANY)


def seconds(act: Callable[[], object]) -> float:
    best = []
    for _ in range(31):
        began = time.process_time()
        act()
        best.append(time.process_time() - began)
    return min(best)


def occupy(state: Placement, workers: range) -> None:
    for number in workers:
        runs(state, PromptId(f"held-{number}"), WorkerName(f"w{number}"), DEMANDS[0])


@pytest.mark.parametrize("busy", [0, WORKERS - 1, WORKERS])
def test_a_decision_costs_the_same_for_100_times_as_many_waiting(
    crowds: tuple[Placement, Placement], busy: int
) -> None:
    few, many = crowds
    for state in crowds:
        occupy(state, range(busy))
        assert (state.decide(0.0) is None) is (busy == WORKERS)
    assert seconds(lambda: many.decide(0.0)) < 3 * seconds(lambda: few.decide(0.0))


def test_to_take_the_next_costs_the_same_too(crowds: tuple[Placement, Placement]) -> None:
    """From one end of a prompt to the next one's begin."""

    def turn(state: Placement) -> None:
        state.gone(PromptId("held-0"), 1.0)
        chosen = state.decide(0.0)
        assert chosen is not None
        runs(state, chosen.id, chosen.worker, DEMANDS[0])
        state.gone(chosen.id, 2.0)
        runs(state, PromptId("held-0"), WorkerName("w0"), DEMANDS[0])

    for state in crowds:
        occupy(state, range(WORKERS))
    few, many = crowds
    assert seconds(lambda: turn(many)) < 3 * seconds(lambda: turn(few))


def test_a_waiting_prompt_takes_less_than_half_a_kilobyte_and_leaves_nothing() -> None:
    """Tables keep the size that they had once, so what counts is that a second wave adds nothing."""
    state, prompts = placement(), list(arrivals(5_000))
    held, left = [], []
    tracemalloc.start()
    try:
        for _ in range(2):
            for prompt in prompts:
                state.waits(prompt, 0.0)
            held.append(tracemalloc.get_traced_memory()[0])
            for prompt in prompts:
                state.gone(prompt.id, 0.0)
            left.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert max(held) < 512 * len(prompts)
    assert left[1] < 1.1 * left[0]


def test_turns_used_up_are_not_heaped_up() -> None:
    """Where one prompt is stuck for ever while its caller's others run."""
    state = placement(worker("x", catalogue=offering("m0")))
    for number in range(3):
        state.waits(waiting(f"stuck-{number}", number, caller=f"c{number}", demand=DEMANDS[1]), 0.0)
    for seq in range(10, 3_000):
        state.waits(waiting("p", seq, caller=f"c{1 + seq % 2}", demand=DEMANDS[0]), 0.0)
        runs(state, PromptId("p"), WorkerName("x"), DEMANDS[0])
        state.gone(PromptId("p"), 0.0)
    assert max(len(group.firsts) for group in state._lines.groups) < 100


def test_it_costs_the_same_by_expected_completion_too() -> None:
    """One idle worker, all others busy, and models on all of them."""
    found = []
    for count in (1_000, 30_000):
        state = Placement(ExpectedCompletion())
        everything = offering(*(f"m{number}" for number in range(GROUPS)))
        for number in range(300):
            state.worker_seen(worker(f"w{number}", catalogue=everything))
            runs(state, PromptId(f"held-{number}"), WorkerName(f"w{number}"), DEMANDS[number % GROUPS])
        for prompt in arrivals(count):
            state.waits(prompt, 0.0)
        state.gone(PromptId("held-0"), 1.0)
        assert state.decide(1.0) is not None
        found.append(seconds(lambda: state.decide(1.0)))  # noqa: B023 - called at once
    assert found[1] < 3 * found[0]


class Loading(Constant):
    """Runs of ten seconds, loads of ten."""

    def __init__(self) -> None:
        super().__init__(10.0)

    def load(self, model: Model, worker: WorkerName) -> float:
        return 10.0


def test_to_switch_is_decided_in_a_fraction_of_what_it_costs_to_weigh_each_head_on_each_worker() -> None:
    """One idle worker of 1,000 with nothing loaded; what it could take is loaded on many busy ones."""
    state = Placement(ExpectedCompletion(), estimates=Loading())
    everything = offering(*(f"m{number}" for number in range(GROUPS)))
    for number in range(WORKERS):
        state.worker_seen(worker(f"w{number}", catalogue=everything))
        runs(state, PromptId(f"held-{number}"), WorkerName(f"w{number}"), DEMANDS[number % GROUPS])
    for prompt in arrivals(30_000):
        state.waits(prompt, 0.0)
    state.gone(PromptId("held-0"), 1.0)
    state.emptied(WorkerName("w0"))
    chosen = state.decide(1.0)
    assert chosen is not None
    assert chosen.why is Why.SWITCH
    farm = state._farm

    def weigh_all() -> None:
        for head in state._lines.heads():
            for spot in farm.spots.all.values():
                farm.load(head.entry.prompt, spot) + farm.run(head.entry.prompt, spot)

    assert seconds(lambda: state.decide(1.0)) < seconds(weigh_all) / 5
