from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.domain.ids import WorkerName
from gateway.domain.placement import Constant, LeastQueue, Model, Placement
from gateway.domain.placement.farm import NEAR, Popularity
from tests.domain.placement.makers import placement, waiting, wants, worker


def test_popularity_is_a_share_of_late_arrivals() -> None:
    seen = Popularity()
    for number in range(4000):
        seen.arrived([Model("a")] if number % 4 else [Model("b")])
    assert seen.share("a") == pytest.approx(0.75, abs=0.05)
    assert seen.share("b") == pytest.approx(0.25, abs=0.05)
    assert seen.share("never") == 0.0
    for _ in range(5000):
        seen.arrived([Model("c")])
    assert seen.share("a") < 0.001


def test_models_that_nobody_asks_for_any_more_are_forgotten() -> None:
    seen = Popularity()
    for number in range(10_000):
        seen.arrived([Model(f"m{number}")])
    assert len(seen._seen) < 4200
    assert seen.share("m9999") > 0


def test_of_many_free_workers_those_with_the_model_are_looked_at_first() -> None:
    state = placement(*(worker(f"w{number:03}") for number in range(200)))
    state.holds(WorkerName("w150"), [Model("a", 5)])
    state.waits(waiting("p", 1, demand=wants("a")), 0.0)
    group = next(iter(state._lines.groups))
    near = state._farm.near(group)
    assert near[0].name == "w150"
    assert len(near) <= 2 * NEAR


def test_files_that_are_there_need_not_be_sent() -> None:
    state = Placement(LeastQueue(), estimates=Constant())
    state.worker_seen(worker("x"))
    state.worker_seen(worker("y"))
    prompt = replace(waiting("p", 1), staging=7.0, staged=frozenset({WorkerName("y")}))
    spots = state._farm.spots.all
    assert [state._farm.load(prompt, spots[WorkerName(name)]) for name in "xy"] == [7.0, 0.0]
