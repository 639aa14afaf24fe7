from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.ids import WorkerName
from gateway.domain.workers import (
    MISSES_TO_DOWN,
    Down,
    HalfOpen,
    Liveness,
    Probe,
    Suspect,
    Unknown,
    Up,
    Worker,
    after,
    probed,
)
from tests.domain.catalogues import BASE, catalogue

NOW = 50.0
GOOD, SLOW, MISSED, REFUSED = Probe.GOOD, Probe.SLOW, Probe.MISSED, Probe.REFUSED
WORKER = Worker(WorkerName("w"), "http://w", catalogue=catalogue(BASE))

TABLE: list[tuple[Liveness, dict[Probe, Liveness]]] = [
    (Unknown(), {GOOD: Up(), SLOW: Suspect(0), MISSED: Suspect(1), REFUSED: Down(NOW)}),
    (Up(), {GOOD: Up(), SLOW: Suspect(0), MISSED: Suspect(1), REFUSED: Down(NOW)}),
    (Suspect(0), {GOOD: Up(), SLOW: Suspect(0), MISSED: Suspect(1), REFUSED: Down(NOW)}),
    (Suspect(1), {GOOD: Up(), SLOW: Suspect(0), MISSED: Suspect(2), REFUSED: Down(NOW)}),
    (Suspect(2), {GOOD: Up(), SLOW: Suspect(0), MISSED: Down(NOW), REFUSED: Down(NOW)}),
    (HalfOpen(), {GOOD: Up(), SLOW: HalfOpen(), MISSED: Down(NOW), REFUSED: Down(NOW)}),
    (Down(5.0), {GOOD: HalfOpen(), SLOW: Down(5.0), MISSED: Down(5.0), REFUSED: Down(5.0)}),
]


@pytest.mark.parametrize(
    ("state", "probe", "then"),
    [pytest.param(state, probe, row[probe], id=f"{state} {probe}") for state, row in TABLE for probe in Probe],
)
def test_what_a_probe_makes_of_a_worker(state: Liveness, probe: Probe, then: Liveness) -> None:
    assert after(state, probe, NOW) == then


@settings(deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(Probe)))
def test_whatever_was_before(history: list[Probe]) -> None:
    """Misses in a row end in Down, two good answers in Up, and no state is left out of the table above."""
    state: Liveness = Unknown()
    for now, probe in enumerate(history):
        state = after(state, probe, float(now))
    known = [row for row, _ in TABLE]
    assert state in known or isinstance(state, Down)
    missed = state
    for _ in range(MISSES_TO_DOWN):
        missed = after(missed, MISSED, NOW)
    assert isinstance(missed, Down)
    assert after(after(state, GOOD, NOW), GOOD, NOW) == Up()


def test_when_it_went_away_is_kept_until_it_is_back() -> None:
    worker = probed(WORKER, GOOD, 1.0)
    assert (worker.away_since, worker.error) == (0.0, "")
    worker = probed(probed(worker, MISSED, 2.0, "no answer"), REFUSED, 3.0, "refused")
    assert (worker.away_since, worker.error) == (3.0, "refused")
    worker = probed(worker, MISSED, 9.0, "no answer")
    assert (worker.away_since, worker.error) == (3.0, "no answer")
    worker = probed(worker, GOOD, 10.0, "of no meaning")
    assert (worker.liveness, worker.away_since, worker.error) == (HalfOpen(), 0.0, "")
    assert probed(worker, MISSED, 11.0).away_since == 11.0


@pytest.mark.parametrize(
    ("worker", "reason"),
    [
        (replace(WORKER, liveness=Up()), None),
        (replace(WORKER, liveness=Suspect(2)), None),
        (replace(WORKER, liveness=HalfOpen()), None),
        (replace(WORKER, liveness=Up(), draining=True), "draining"),
        (replace(WORKER, liveness=Down(1.0), draining=True), "draining"),
        (WORKER, "not seen yet"),
        (replace(WORKER, liveness=Down(1.0)), "down"),
        (replace(WORKER, liveness=Down(1.0), error="refused"), "down: refused"),
        (replace(WORKER, liveness=Up(), catalogue=None), "its node list is not read yet"),
    ],
)
def test_why_a_worker_takes_nothing(worker: Worker, reason: str | None) -> None:
    assert worker.refusal() == reason


@pytest.mark.parametrize(
    ("liveness", "since", "away"),
    [
        (Up(), 0.0, False),
        (Suspect(2), 0.0, False),
        (HalfOpen(), 0.0, False),
        (Unknown(), 0.0, True),
        (Down(45.0), 45.0, True),
        (Down(40.0), 40.0, False),
        (Down(30.0), 30.0, False),
    ],
)
def test_a_worker_is_counted_on_for_as_long_as_the_grace_lasts(liveness: Liveness, since: float, away: bool) -> None:
    assert replace(WORKER, liveness=liveness, away_since=since).away(NOW, grace=10.0) is away
