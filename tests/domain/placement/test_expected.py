"""What `expected-completion` does, against costs that can be added up by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.ids import PromptId, WorkerName
from gateway.domain.placement import ExpectedCompletion, Model, Placement, Waiting, Why, Work
from gateway.domain.placement.expected import PASSED_PER_WAITING, PASSED_PER_WORKER
from gateway.domain.workers import Suspect, Worker
from tests.domain.placement.makers import placement, served, waiting, wants, worker

BIG = 20 * 2**30
X, Y = WorkerName("x"), WorkerName("y")
BOUNDED = settings(deadline=None, derandomize=True, max_examples=60)


class Costs:
    """10 seconds to run, 20 to load a model; a worker named `slow…` takes four times as long to run."""

    def __init__(self, run: float = 10.0, load: float = 20.0) -> None:
        self._run, self._load = run, load

    def run(self, work: Work, worker: WorkerName) -> float:
        return self._run * (4 if worker.startswith("slow") else 1)

    def load(self, model: Model, worker: WorkerName) -> float:
        return self._load


def farm(*workers: Worker, costs: Costs | None = None) -> Placement:
    state = Placement(ExpectedCompletion(), estimates=costs or Costs())
    for each in workers:
        state.worker_seen(each)
    return state


def asks(id: str, seq: int, model: str = "", *, caller: str = "", priority: int = 0, hard: bool = False) -> Waiting:
    models = frozenset({Model(model, BIG)}) if model else frozenset()
    number = -seq if hard else seq
    made = waiting(id, seq, caller=caller or id, number=number, demand=wants(*model.split()))
    return replace(made, work=Work("shape", models=models), priority=priority, hard=hard)


def warm(state: Placement, **models: str) -> None:
    for name, model in models.items():
        state.holds(WorkerName(name), [Model(model, BIG)])


def starts(state: Placement, now: float, *prompts: Waiting) -> list[tuple[str, str, Why]]:
    """What is placed of these at this moment, and it runs from now on."""
    known = {prompt.id: prompt for prompt in prompts}
    for prompt in prompts:
        state.waits(prompt, now)
    found = []
    while (chosen := state.decide(now)) is not None:
        found.append((str(chosen.id), str(chosen.worker), chosen.why))
        state.runs(known.get(chosen.id, asks(chosen.id, 0)), chosen.worker, now)
    return found


def test_a_prompt_goes_where_its_model_is() -> None:
    state = farm(worker("x"), worker("y"), worker("z"))
    warm(state, x="a", y="b")
    assert starts(state, 0.0, asks("p", 1, "b"), asks("q", 2, "a")) == [
        ("p", "y", Why.RESIDENT),
        ("q", "x", Why.RESIDENT),
    ]


def test_it_waits_for_a_busy_worker_that_has_it_when_that_is_sooner() -> None:
    state = farm(worker("x"), worker("y"))
    warm(state, x="a", y="b")
    p, q = asks("p", 1, "b"), asks("q", 2, "b")
    assert starts(state, 0.0, p) == [("p", "y", Why.RESIDENT)]
    assert starts(state, 5.0, q) == [], "5 + 10 there, 20 + 10 here"
    state.gone(p.id, 10.0)
    assert starts(state, 10.0) == [("q", "y", Why.WAITED)]


def test_it_does_not_wait_longer_than_loading_would_take() -> None:
    state = farm(worker("x"), worker("y"))
    warm(state, x="a", y="b")
    p = asks("p", 1, "b")
    starts(state, 0.0, p)
    state.ends_at(p.id, 500.0)
    assert starts(state, 5.0, asks("q", 2, "b")) == [("q", "x", Why.SWITCH)]


def test_of_many_that_wait_for_one_worker_some_are_worth_another() -> None:
    state = farm(worker("x"), worker("y"))
    warm(state, x="a", y="b")
    found = starts(state, 0.0, *(asks(f"p{seq}", seq, "b") for seq in range(9)))
    assert found == [("p0", "y", Why.RESIDENT), ("p1", "x", Why.SWITCH)]


def test_a_group_is_served_until_it_is_empty() -> None:
    state = farm(worker("x"), worker("y"))
    warm(state, x="a", y="b")
    for turn in range(4):
        state.waits(asks(f"a{turn}", 2 * turn, "a"), 0.0)
        state.waits(asks(f"c{turn}", 2 * turn + 1, "c"), 0.0)
    state.runs(asks("busy", 99, "b"), Y, 0.0)
    order: list[str] = []
    while (chosen := state.decide(float(len(order)))) is not None:
        state.runs(asks(chosen.id, 0, chosen.id[0]), chosen.worker, float(len(order)))
        state.gone(chosen.id, float(len(order) + 1))
        order.append(str(chosen.id))
    assert order == ["a0", "a1", "a2", "a3", "c0", "c1", "c2", "c3"]


def test_what_must_go_for_a_model_is_what_is_wanted_least() -> None:
    state = farm(worker("x"), worker("y"))
    warm(state, x="a", y="b")
    for seq in range(20):
        state.waits(asks(f"p{seq}", seq, "a"), 0.0)
        state.gone(PromptId(f"p{seq}"), 0.0)
    assert starts(state, 1.0, asks("q", 50, "c")) == [("q", "y", Why.SWITCH)]


def test_the_faster_of_two_is_taken() -> None:
    state = farm(worker("slow"), worker("x"))
    assert starts(state, 0.0, asks("p", 1, "a")) == [("p", "x", Why.SWITCH)]


@pytest.mark.parametrize("costs", [Costs(), Costs(load=0.0), Costs(load=0.5)])
@BOUNDED
@given(st.lists(st.sampled_from("abc"), max_size=20))
def test_one_client_on_one_worker_gets_exactly_comfyuis_order(costs: Costs, models: list[str]) -> None:
    state = farm(worker("x"), costs=costs)
    for seq, model in enumerate(models):
        state.waits(asks(f"p{seq:02}", seq, model, caller="me"), 0.0)
    assert [id for id, _ in served(state)] == [f"p{seq:02}" for seq in range(len(models))]


@pytest.mark.parametrize("what", ["nothing learned", "no models", "hardly any loading"])
@BOUNDED
@given(models=st.lists(st.sampled_from("abc"), max_size=20), callers=st.booleans())
def test_where_loading_does_not_matter_first_come_is_first_served(what: str, models: list[str], callers: bool) -> None:
    workers = worker("x"), worker("y"), worker("z")
    state = farm(*workers, costs=Costs(load=0.5)) if what == "hardly any loading" else farm(*workers)
    if what == "nothing learned":
        state = placement(*workers, policy=ExpectedCompletion())
    for seq, model in enumerate(models):
        named = "" if what == "no models" else model
        state.waits(asks(f"p{seq:02}", seq, named, caller="" if callers else "me"), 0.0)
    assert [id for id, _ in served(state)] == [f"p{seq:02}" for seq in range(len(models))]


def test_a_hard_prompt_is_not_passed_by_its_own_callers() -> None:
    state = farm(worker("x"), worker("y"))
    warm(state, x="a", y="a")
    state.runs(asks("busy", 99, "a"), Y, 0.0)
    front = asks("front", 3, "b", caller="me", hard=True)
    found = starts(state, 0.0, asks("p", 1, "a", caller="me"), front)
    assert found == [("front", "x", Why.SWITCH)]


def test_a_hard_prompt_that_nobody_can_run_holds_up_nobody() -> None:
    state = farm(worker("x"), worker("y"))
    stuck = replace(asks("stuck", 1, caller="me", hard=True), demand=wants("nobody has it"))
    assert starts(state, 0.0, stuck, asks("p", 2, "a", caller="me")) == [("p", "x", Why.SWITCH)]


def test_a_higher_priority_goes_first_whoever_it_is_from() -> None:
    state = farm(worker("x"), worker("y"))
    warm(state, x="a")
    state.runs(asks("busy", 99, "c"), Y, 0.0)
    state.ends_at(PromptId("busy"), 900.0)
    assert starts(state, 0.0, asks("p", 1, "a"), asks("q", 2, "b", priority=5)) == [("q", "x", Why.SWITCH)]


def test_who_floods_the_farm_is_passed_by_who_comes_later() -> None:
    state = farm(worker("x"), worker("y"))
    warm(state, x="a", y="a")
    now, placed = 0.0, []
    for seq in range(60):
        state.waits(asks(f"flood-{seq:02}", seq, "a", caller="flood"), now)
    for turn in range(30):
        if turn == 15:
            state.waits(asks("one", 100, "b", caller="other"), now)
        chosen = state.decide(now)
        assert chosen is not None
        state.runs(asks(chosen.id, 0, "b" if chosen.id == "one" else "a"), chosen.worker, now)
        placed.append(str(chosen.id))
        now += 10.0
        state.gone(chosen.id, now)
    assert placed[15] == "one", "it had none of the farm yet, and 150 seconds had gone to the other"


def test_no_group_is_passed_over_for_ever() -> None:
    """Not by more than the bound that the module states, while others never leave a worker idle."""
    state = farm(worker("x"), worker("y"))
    warm(state, x="a", y="a")
    state.waits(asks("rare", 0, "b"), 0.0)
    seq, now, passed = 1, 0.0, 0
    while True:
        for _ in range(3):
            state.waits(asks(f"p{seq:05}", seq, "a"), now)
            seq += 1
        chosen = state.decide(now)
        assert chosen is not None
        if chosen.id == "rare":
            assert chosen.why is Why.AGED
            break
        state.runs(asks(chosen.id, 0, "a"), chosen.worker, now)
        now += 10.0
        state.gone(chosen.id, now)
        passed += 1
        if len(state) > 12:
            state.gone(PromptId(f"p{seq - 1:05}"), now)
            state.gone(PromptId(f"p{seq - 2:05}"), now)
        assert passed <= max(PASSED_PER_WORKER * 2, PASSED_PER_WAITING * 15)
    assert passed >= PASSED_PER_WORKER * 2


def test_a_worker_with_prompts_of_others_or_slow_to_answer_comes_last() -> None:
    state = farm(worker("x", foreign=1), worker("y", liveness=Suspect(1)), worker("z"))
    warm(state, x="a", y="a")
    found = starts(state, 0.0, *(asks(f"p{seq}", seq, "a") for seq in range(3)))
    assert [name for _, name, _ in found] == ["z", "x", "y"]


def test_the_cost_on_each_worker_in_question_is_told() -> None:
    state = farm(worker("x"), worker("y"))
    warm(state, x="a", y="b")
    starts(state, 0.0, asks("p", 1, "b"))
    state.ends_at(PromptId("p"), 500.0)
    state.waits(asks("q", 2, "b"), 4.0)
    chosen = state.decide(4.0)
    assert chosen is not None
    assert chosen.weighed is not None
    here, there = chosen.weighed[X], chosen.weighed[Y]
    assert (here.free_in, here.load, here.run, here.score) == (0.0, 20.0, 10.0, 10 + 20 * 1.5)
    assert (there.free_in, there.load, there.run, there.score) == (496.0, 0.0, 10.0, 506.0)
    assert chosen.reasons == {"y": "busy"}


def test_the_only_one_that_can_is_told_as_such() -> None:
    state = farm(worker("x"), worker("y", vram=1))
    prompt = asks("p", 1, "a")
    prompt = replace(prompt, demand=replace(prompt.demand, min_vram=2))
    assert starts(state, 0.0, prompt) == [("p", "x", Why.ONLY_ONE)]
