from __future__ import annotations

from collections.abc import Iterable

import pytest

from gateway.flows.pace import Pace


def paced(*times: float) -> Pace:
    clock: Iterable[float] = iter(times)
    pace = Pace(lambda: next(iter(clock)))
    for _ in times:
        pace.ended()
    return pace


@pytest.mark.parametrize("ends", [(), (5.0,)])
def test_nothing_is_foretold_from_fewer_than_two_ends(ends: tuple[float, ...]) -> None:
    pace = paced(*ends)
    assert pace.interval() is None
    assert pace.until_turn(3) is None
    assert pace.until_room() == 10


def test_the_interval_is_the_mean_of_late() -> None:
    assert paced(0, 1, 8).interval() == 4
    assert paced(-1e9, *range(64)).interval() == 1  # what is long ago is forgotten


def test_a_turn_comes_after_those_before_it() -> None:
    pace = paced(0, 4)
    assert [pace.until_turn(position) for position in (0, 2)] == [4, 12]


@pytest.mark.parametrize(("ends", "room"), [((0, 0.01), 1), ((0, 30), 30), ((0, 7200), 600)])
def test_room_is_promised_in_a_second_at_least_and_ten_minutes_at_most(ends: tuple[float, ...], room: float) -> None:
    assert paced(*ends).until_room() == room
