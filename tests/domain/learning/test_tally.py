from __future__ import annotations

import json
import random
from statistics import median

import pytest

from gateway.domain.learning.tally import KEPT, Tally, load


def test_the_mean_of_what_came() -> None:
    tally = Tally()
    for value in (1.0, 1.2, 0.8, 1.1, 0.9):
        tally.take(value)
    assert tally.weight == 5.0
    assert tally.mean == pytest.approx(1.0)
    assert tally.towards(9.0, 0.0) == pytest.approx(1.0)
    assert tally.towards(2.0, 5.0) == pytest.approx(1.5)
    assert Tally().towards(2.0, 1.0) == 2.0


def test_the_spread_is_found() -> None:
    rng, tally = random.Random(1), Tally()
    for _ in range(200):
        tally.take(rng.gauss(0.0, 0.1))
    assert tally.spread == pytest.approx(0.1, rel=0.3)
    assert tally.weight == KEPT


def test_a_light_guess_gives_way_to_what_was_seen() -> None:
    tally = Tally()
    tally.take(5.0, 0.2)
    for _ in range(3):
        tally.take(1.0)
    assert tally.mean == pytest.approx(1.0, abs=0.3)


def test_outliers_are_cut_and_a_change_is_followed() -> None:
    rng, tally = random.Random(2), Tally()
    for _ in range(20):
        tally.take(rng.gauss(1.0, 0.05))
    tally.take(4.0)
    tally.take(-2.0)
    assert tally.mean == pytest.approx(1.0, abs=0.05)
    seen = []
    for _ in range(6):
        tally.take(3.0)
        seen.append(tally.mean)
    assert seen[1] < 1.3
    assert median(seen[2:]) == 3.0


@pytest.mark.parametrize("raw", [None, [], [1, 2], ["a", 1, 1, 1], [float("nan"), 1, 1, 1], {"a": 1}])
def test_what_is_none_is_not_read(raw: object) -> None:
    assert load(raw) is None


def test_it_is_kept_as_json() -> None:
    tally = Tally()
    for value in (0.3, 0.4, 9.0):
        tally.take(value)
    again = load(json.loads(json.dumps(tally.dump())))
    assert again is not None
    assert again.mean == pytest.approx(tally.mean, abs=1e-4)
    assert again.astray == tally.astray
