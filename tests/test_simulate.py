"""`scripts/simulate` in short, with wide margins; and the ways in which placement by cost is known to collapse."""

from __future__ import annotations

import statistics
from random import Random

import pytest

from bench._comparators import clearing, least_expected_time
from bench._traces import flooded, reference, zipf8
from bench.simulate import Case, cases, goals, measure, rows
from gateway.domain.placement import ExpectedCompletion, LeastQueue, Policy
from gateway.domain.simulation import Arrival, Played, Simulation, Trace

SEEDS = (1, 2)


def mean(trace: Trace, played: Played, *, but: str = "") -> float:
    pairs = zip(played.done, trace.arrivals, strict=True)
    return statistics.fmean(done - arrival.at for done, arrival in pairs if arrival.caller != but)


def ours(trace: Trace, policy: Policy | None = None) -> Played:
    return Simulation(trace, policy or ExpectedCompletion()).play()


@pytest.mark.parametrize("load", [0.4, 0.8])
def test_the_default_is_about_as_good_as_the_better_of_two_that_know_everything(load: float) -> None:
    traces = [zipf8(seed, 500, load) for seed in SEEDS]
    best = min(sum(mean(trace, play(trace)) for trace in traces) for play in (clearing, least_expected_time))
    assert sum(mean(trace, ours(trace)) for trace in traces) < 1.3 * best


def test_the_shortest_queue_is_lost_where_the_default_is_not() -> None:
    trace = zipf8(1, 800, 0.8)
    assert mean(trace, ours(trace, LeastQueue())) > 4 * mean(trace, ours(trace))


def test_poor_predictions_cost_little() -> None:
    sharp, blurred = ([reference(seed, 500, 0.6, noise) for seed in SEEDS] for noise in (0.3, 1.0))
    assert sum(mean(t, ours(t)) for t in blurred) < 1.6 * sum(mean(t, ours(t)) for t in sharp)


def test_a_flood_by_one_hurts_the_others_little() -> None:
    calm = [zipf8(seed, 500, 0.5) for seed in SEEDS]
    flood = [flooded(trace, seed) for seed, trace in zip(SEEDS, calm, strict=True)]
    assert sum(mean(t, ours(t), but="flood") for t in flood) < 2 * sum(mean(t, ours(t)) for t in calm)


def test_the_queue_does_not_grow_with_the_length_of_the_trace() -> None:
    """Where no policy is stable three times the length is three times the wait."""
    short, long = (sum(mean(t, ours(t)) for t in (zipf8(s, n, 0.85) for s in SEEDS)) for n in (500, 1500))
    assert long < 1.8 * short


def test_when_all_wait_for_long_it_is_not_first_come_first_served() -> None:
    """A bound on the age that did not grow would have everybody overdue, and a load for nearly every prompt."""
    rng = Random(3)
    models = [f"m{number}" for number in range(6)]
    prompts = [Arrival(0.0, f"c{n % 5}", frozenset({rng.choice(models)}), 10.0, 10.0) for n in range(600)]
    trace = Trace({f"w{n}": 1.0 for n in range(4)}, dict.fromkeys(models, 30.0), prompts)
    assert ours(trace).switches < 60
    assert ours(trace, LeastQueue()).switches > 240


def test_a_worker_is_not_idle_because_the_first_many_wait_for_another() -> None:
    """Only the first N of the queue were looked at, once: they all waited for a busy worker."""
    held = [Arrival(0.0, f"a{n}", frozenset({"a"}), 10.0, 10.0, workers=frozenset({"x"})) for n in range(300)]
    late = Arrival(1.0, "b", frozenset({"b"}), 10.0, 10.0)
    trace = Trace({"x": 1.0, "y": 1.0}, {"a": 60.0, "b": 5.0}, [*held, late])
    assert ours(trace).placed[-1] == 1.0


def test_one_group_alone_gets_all_workers() -> None:
    """How dear a switch is counts for those it makes wait; here there are none."""
    prompts = [Arrival(0.0, "me", frozenset({"a"}), 10.0, 10.0) for _ in range(100)]
    played = ours(Trace({f"w{n}": 1.0 for n in range(4)}, {"a": 20.0}, prompts))
    assert played.switches == 4
    assert max(played.done) < 1.4 * 100 * 10.0 / 4


def test_rows_and_goals_are_of_the_cases_that_were_played() -> None:
    some = [case for case in cases(1, 60, 60) if case.policy in ("expected-completion", "ect", "clearing", "cect")]
    table = rows(some)
    assert {"scenario", "load", "policy", "noise", "seeds", "mean", "p95", "p99"} < set(next(iter(table.values())))
    reached = goals(table)
    assert len(reached) == 2 * 5 + 2 * 4 + 1 + 3
    assert all(ratio > 0 for _, ratio, _ in reached)
    case = Case("zipf8", 0.4, "least-queue", 0.0, 60, 1)
    assert measure(case) == measure(case)
    assert measure(case).greatest_wait < measure(case).p99 + 100
