from __future__ import annotations

import pytest

from gateway.domain.demand import Demand
from gateway.domain.ids import PromptId, WorkerName
from gateway.domain.placement import Model, RoundRobin
from gateway.domain.placement.lines import KEPT_KINDS
from gateway.domain.placement.waiting import Ahead
from gateway.domain.workers import Down, HalfOpen, Suspect, Unknown, Up, Worker
from tests.domain.facts import names
from tests.domain.placement.makers import GIB, changed, offering, place, placement, runs, served, waiting, wants, worker

X, Y, Z = WorkerName("x"), WorkerName("y"), WorkerName("z")
P = PromptId("p")


@pytest.mark.parametrize(
    ("who", "demand", "taken"),
    [
        (worker("x"), wants("a"), True),
        (worker("x", liveness=Suspect(2)), wants("a"), True),
        (worker("x", liveness=HalfOpen()), wants("a"), True),
        (worker("x", foreign=3), wants("a"), True),
        (worker("x", liveness=Unknown()), wants("a"), False),
        (worker("x", liveness=Down(1.0)), wants("a"), False),
        (worker("x", draining=True), wants("a"), False),
        (worker("x", catalogue=None), wants("a"), False),
        (worker("x"), wants("z"), False),
        (worker("x"), wants("a", node_class="Paint"), False),
        (worker("x"), wants("a", min_vram=25 * GIB), False),
        (worker("x"), wants("a", min_vram=24 * GIB), True),
    ],
)
def test_who_may_take_a_prompt(who: Worker, demand: Demand, taken: bool) -> None:
    state = placement(who)
    assert (place(state, demand) is not None) is taken
    state.waits(waiting("p", 1, demand=demand), 0.0)
    assert (state.decide(0.0) is not None) is taken
    assert len(state) == 1, "to decide changes nothing"


def test_a_held_worker_takes_no_second_prompt_until_the_first_is_over() -> None:
    state = placement(worker("x", liveness=HalfOpen()))
    runs(state, P, X, wants("a"))
    state.waits(waiting("q", 1), 0.0)
    assert state.decide(0.0) is None
    state.gone(P, 5.0)
    chosen = state.decide(0.0)
    assert chosen is not None
    assert (chosen.id, chosen.worker) == ("q", X)


def test_what_is_refused_by_one_goes_to_another() -> None:
    state = placement(worker("x"), worker("y", foreign=1))
    state.waits(waiting("p", 1), 0.0)
    state.waits(waiting("p", 1, no="x"), 0.0)
    assert len(state) == 1
    assert served(state) == [("p", "y")]
    state.waits(waiting("q", 2, no="x y"), 0.0)
    assert state.decide(0.0) is None
    state.worker_seen(worker("z"))
    assert served(state) == [("q", "z")]


def test_a_refusal_holds_for_this_prompt_alone_and_after_the_worker_changed() -> None:
    state = placement(worker("x"))
    state.waits(waiting("p", 1, no="x"), 0.0)
    state.waits(waiting("q", 2), 0.0)
    assert served(state) == [("q", "x")]
    state.worker_seen(worker("x", vram=48 * GIB))
    assert state.decide(0.0) is None
    assert place(state, wants("a"), refused_by=names("x")) is None
    assert place(state, wants("a")) is not None


def test_after_want_of_memory_only_a_bigger_worker_will_do() -> None:
    state = placement(worker("x", free=20 * GIB), worker("y", vram=80 * GIB, free=1, foreign=3))
    demand = wants("a", min_vram=24 * GIB + 1)
    state.waits(waiting("p", 1, demand=demand), 0.0)
    assert [each.name for each in state.able(demand)] == ["y"]
    assert served(state) == [("p", "y")]
    state.waits(waiting("q", 2, demand=demand), 0.0)
    state.worker_seen(worker("y", vram=24 * GIB))
    assert state.decide(0.0) is None


def test_models_that_appear_and_vanish_are_seen_at_once() -> None:
    state = placement(worker("x", catalogue=offering("a")))
    state.waits(waiting("p", 1, demand=wants("b")), 0.0)
    assert state.decide(0.0) is None
    state.worker_seen(worker("x", catalogue=offering("a", "b")))
    assert state.decide(0.0) is not None
    state.worker_seen(worker("x", catalogue=offering("a")))
    assert state.decide(0.0) is None
    assert state.able(wants("b")) == []


def test_a_worker_that_leaves_takes_its_slots_along() -> None:
    state = placement(worker("x"), worker("y", foreign=1))
    runs(state, P, X, wants("a"))
    state.worker_gone(X)
    state.worker_gone(X)
    state.waits(waiting("q", 1), 0.0)
    assert served(state) == [("q", "y")]
    state.worker_seen(worker("x"))
    state.waits(waiting("r", 2), 0.0)
    assert served(state) == [("r", "x")], "one of that name is a new one"


def test_able_are_those_that_could_if_they_were_up() -> None:
    state = placement(
        worker("x", liveness=Down(1.0)), worker("y", draining=True), worker("z", catalogue=offering("b")), worker("w")
    )
    runs(state, P, WorkerName("w"), wants("a"))
    assert {each.name for each in state.able(wants("a"))} == {"x", "y", "w"}


# slots and what is loaded


def test_a_prompt_that_waits_again_frees_its_slot_and_comes_first() -> None:
    state = placement(worker("x"))
    for seq, id in enumerate(("p", "q"), 1):
        state.waits(waiting(id, seq, caller=id), 0.0)
    runs(state, P, X, wants("a"))
    assert state.decide(0.0) is None
    state.waits(waiting("p", 1, caller="p"), 3.0)
    assert served(state) == [("p", "x"), ("q", "x")]


def test_a_prompt_that_was_moved_holds_one_slot() -> None:
    state = placement(worker("x"), worker("y"))
    runs(state, P, X, wants("a"))
    runs(state, P, Y, wants("a"))
    runs(state, P, Y, wants("a"))
    state.waits(waiting("q", 1), 0.0)
    assert served(state) == [("q", "x")]
    state.gone(P, 9.0)
    assert state.idle_for(Y, 10.0) == 1.0


def test_the_same_told_twice_is_told_once() -> None:
    state = placement(worker("x"))
    for _ in range(2):
        state.waits(waiting("p", 1), 0.0)
        state.waits(waiting("q", 2), 0.0)
    assert len(state) == 2
    assert served(state) == [("p", "x"), ("q", "x")]
    for _ in range(2):
        state.gone(P, 0.0)
    assert state.decide(0.0) is None


def test_a_prompt_that_runs_where_nobody_is_known_waits_no_more() -> None:
    state = placement()
    state.waits(waiting("p", 1), 0.0)
    runs(state, P, X, wants("a"))
    assert len(state) == 0
    state.gone(P, 0.0)


def test_what_ran_last_is_what_is_loaded() -> None:
    state = placement(worker("x"), worker("y"))
    for id, who, models in (("1", X, "a"), ("2", Y, "b")):
        runs(state, PromptId(id), who, wants(models))
        state.gone(PromptId(id), 1.0)
    runs(state, P, Y, wants())
    state.gone(P, 2.0)
    for model, who in (("a", X), ("b", Y)):
        chosen = place(state, wants(model))
        assert chosen is not None
        assert chosen.worker == who


@pytest.mark.parametrize("how", ["emptied", "down"])
def test_what_was_loaded_is_gone_with_a_restart(how: str) -> None:
    state = placement(worker("x"), worker("y"))
    runs(state, P, X, wants("a"))
    state.gone(P, 1.0)
    chosen = place(state, wants("a"))
    assert chosen is not None
    assert chosen.worker == X, "warm, though idle for less long"
    if how == "emptied":
        state.emptied(X)
        state.emptied(Z)
    else:
        state.worker_seen(worker("x", liveness=Down(2.0)))
        state.worker_seen(worker("x", liveness=Up()))
    chosen = place(state, wants("a"))
    assert chosen is not None
    assert chosen.worker == Y


def test_what_was_seen_to_be_loaded_counts() -> None:
    state = placement(worker("x"), worker("y"))
    state.holds(Y, [Model("a", GIB)])
    state.holds(Z, [Model("a", GIB)])
    chosen = place(state, wants("a"))
    assert chosen is not None
    assert chosen.worker == Y


def test_how_long_a_worker_is_idle() -> None:
    state = placement(worker("x"))
    assert state.idle_for(X, 10.0) == 0.0
    runs(state, P, X, wants("a"))
    state.gone(P, 4.0)
    assert state.idle_for(X, 10.0) == 6.0
    runs(state, P, X, wants("a"))
    assert state.idle_for(X, 10.0) == 0.0
    assert state.idle_for(Z, 10.0) == 0.0


# a place for one that just came


def test_one_that_just_came_goes_past_those_that_cannot_go_there() -> None:
    state = placement(worker("x", catalogue=offering("a")), worker("y", catalogue=offering("b")))
    runs(state, P, X, wants("a"))
    state.waits(waiting("q", 1, demand=wants("a")), 0.0)
    chosen = place(state, wants("b"))
    assert chosen is not None
    assert (chosen.worker, chosen.reasons) == (Y, {X: "Load.model has no 'b'"})
    assert place(state, wants("a")) is None


def test_one_that_just_came_does_not_take_the_slot_of_one_that_waits() -> None:
    state = placement(worker("x", catalogue=offering("a", "b")))
    state.waits(waiting("q", 1, demand=wants("a")), 0.0)
    assert place(state, wants("b")) is None
    state.gone(PromptId("q"), 0.0)
    assert place(state, wants("b")) is not None


# reasons


def test_every_other_worker_has_its_reason() -> None:
    state = placement(
        worker("x"),
        worker("busy"),
        worker("shared", foreign=2),
        worker("less", free=1),
        worker("bare", catalogue=offering("b")),
        worker("away", liveness=Down(1.0)),
        worker("leaving", draining=True),
        worker("new", catalogue=None),
    )
    runs(state, P, WorkerName("busy"), wants("b"))
    state.waits(waiting("q", 1), 0.0)
    chosen = state.decide(0.0)
    assert chosen is not None
    assert chosen.worker == X
    assert chosen.reasons == {
        "busy": "busy",
        "shared": "busy with 2 prompts of others",
        "less": "another was preferred",
        "bare": "Load.model has no 'a'",
        "away": "down",
        "leaving": "draining",
        "new": "its node list is not read yet",
    }
    assert set(state.explain(wants("a"))) == {*chosen.reasons, "x"}


# groups


def test_groups_of_prompts_long_gone_are_let_go() -> None:
    state = placement(worker("x"))
    kept = [waiting(f"kept-{seq}", seq, demand=wants(f"k{seq}")) for seq in range(3)]
    for prompt in kept:
        state.waits(prompt, 0.0)
    for number in range(3 * KEPT_KINDS):
        assert place(state, wants(f"m{number}")) is None
    assert len(state._lines._pools) <= KEPT_KINDS + 1
    assert len(state) == 3
    state.worker_seen(worker("x", catalogue=offering("k0", "k1", "k2")))
    assert served(state) == [("kept-0", "x"), ("kept-1", "x"), ("kept-2", "x")]


def test_more_groups_than_are_kept_lose_no_prompt() -> None:
    models = [f"m{number}" for number in range(KEPT_KINDS + 50)]
    state = placement(worker("x", catalogue=offering(*models)))
    for seq, model in enumerate(models):
        state.waits(waiting(f"p{seq:04}", seq, demand=wants(model)), 0.0)
    assert [id for id, _ in served(state)] == [f"p{seq:04}" for seq in range(len(models))]


def test_a_group_that_is_stuck_holds_up_nobody() -> None:
    """Nor does it keep its caller's first turn for itself."""
    state = placement(worker("x", catalogue=offering("a")), policy=RoundRobin())
    state.waits(waiting("stuck", 1, demand=wants("b")), 0.0)
    state.waits(waiting("b-1", 2, caller="b"), 0.0)
    state.waits(waiting("me-2", 3), 0.0)
    assert served(state) == [("me-2", "x"), ("b-1", "x")]
    state.worker_seen(changed(worker("x"), catalogue=offering("b")))
    assert served(state) == [("stuck", "x")]


def test_what_is_ahead_counts_by_the_share_of_workers_in_common() -> None:
    state = placement(worker("x", catalogue=offering("a", "b")), worker("y", catalogue=offering("b", "c")))
    for number, model in enumerate("abcab"):
        state.waits(waiting(f"p{number}-{model}", number, demand=wants(model)), 0.0)
    found = state.ahead(PromptId("p3-a"), lambda _: 7.0)
    assert found is not None
    assert found.count == pytest.approx(3 * (2 * 1 + 2 * 0.5) / 5), "of the first three all a and half of b, as of all"
    assert found.seconds == pytest.approx(7.0 * found.count)
    assert state.ahead(PromptId("p0-a"), lambda _: 7.0) == Ahead(0.0, 0.0)
    assert state.ahead(PromptId("gone"), lambda _: 7.0) is None
