from __future__ import annotations

from random import Random

import pytest

from gateway.domain.placement import POLICIES, ExpectedCompletion, LeastQueue
from gateway.domain.simulation import Arrival, Simulation, Trace

A, B = frozenset({"a"}), frozenset({"b"})


def trace(*arrivals: Arrival, slots: int = 1, **speeds: float) -> Trace:
    return Trace(speeds or {"x": 1.0}, {"a": 5.0, "b": 7.0}, arrivals, slots)


def test_a_prompt_takes_its_loading_and_its_running() -> None:
    played = Simulation(trace(Arrival(1.0, "me", A, 10.0, 3.0), x=2.0), LeastQueue()).play()
    assert played.placed == [1.0]
    assert played.done == [1.0 + 5.0 + 10.0 / 2.0]
    assert (played.loading, played.running, played.switches) == (5.0, 5.0, 1)


@pytest.mark.parametrize(("slots", "loading"), [(1, 5.0 + 7.0 + 5.0), (2, 5.0 + 7.0)])
def test_a_worker_keeps_as_many_models_as_it_has_slots(slots: int, loading: float) -> None:
    prompts = [Arrival(float(at), "me", models, 1.0, 1.0) for at, models in enumerate((A, B, A))]
    assert Simulation(trace(*prompts, slots=slots), LeastQueue()).play().loading == loading


def test_a_prompt_runs_only_where_it_can() -> None:
    prompts = [Arrival(0.0, "me", A, 1.0, 1.0, workers=frozenset({"y"})) for _ in range(3)]
    played = Simulation(trace(*prompts, x=1.0, y=1.0), LeastQueue()).play()
    assert played.done == [6.0, 7.0, 8.0]
    nowhere = Arrival(0.0, "me", A, 1.0, 1.0, workers=frozenset({"z"}))
    with pytest.raises(RuntimeError, match="1 prompts were never placed"):
        Simulation(trace(nowhere), LeastQueue()).play()


@pytest.mark.parametrize("name", POLICIES)
def test_the_same_trace_plays_the_same_twice(name: str) -> None:
    rng = Random(1)
    prompts = [Arrival(float(at), f"c{at % 3}", rng.choice((A, B)), 4.0, 5.0) for at in range(60)]
    first, second = (Simulation(trace(*prompts, x=1.0, y=2.0), POLICIES[name](Random(7))).play() for _ in range(2))
    assert first == second
    assert sum(first.why.values()) == 60


def test_the_default_loads_less_than_the_shortest_queue() -> None:
    rng = Random(2)
    prompts = [Arrival(float(at) * 3, f"c{at % 3}", rng.choice((A, B)), 4.0, 5.0) for at in range(200)]
    played = [
        Simulation(trace(*prompts, x=1.0, y=1.0), policy).play() for policy in (ExpectedCompletion(), LeastQueue())
    ]
    assert played[0].loading < played[1].loading / 2
