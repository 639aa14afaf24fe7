from __future__ import annotations

from random import Random

import pytest

from gateway.domain.demand import Demand
from gateway.domain.ids import PromptId
from gateway.domain.placement import POLICIES, LeastQueue, Picker, RandomChoice, RoundRobin, Spot
from gateway.domain.workers import HalfOpen, Liveness, Suspect, Up
from tests.domain.placement.makers import GIB, wants, worker


def spot(
    name: str,
    *,
    held: int = 0,
    foreign: int = 0,
    warm: str = "",
    free: int = GIB,
    idle: float = 0.0,
    liveness: Liveness | None = None,
) -> Spot:
    seen = worker(name, foreign=foreign, free=free, liveness=liveness or Up())
    return Spot(seen, {PromptId(str(number)) for number in range(held)}, dict.fromkeys(warm.split(), 1), idle)


CASES: list[tuple[str, Demand, list[Spot], str | None]] = [
    ("nobody", wants("a"), [], None),
    ("one", wants("a"), [spot("x")], "x"),
    ("the idle one", wants("a"), [spot("x", held=1), spot("y")], "y"),
    ("none is free", wants("a"), [spot("x", held=1), spot("y", held=1)], None),
    ("fewer prompts of others", wants("a"), [spot("x", foreign=2), spot("y", foreign=1)], "y"),
    ("one prompt each: a free slot", wants("a"), [spot("x", held=1), spot("y", foreign=1)], "y"),
    ("a shorter queue is soon free", wants("a"), [spot("x", held=1), spot("y", foreign=2)], None),
    ("a shorter queue before warm models", wants("a"), [spot("x", foreign=1, warm="a"), spot("y")], "y"),
    ("warm", wants("a"), [spot("x", warm="b"), spot("y", warm="a c")], "y"),
    ("warmer", wants("a", "b"), [spot("x", warm="a"), spot("y", warm="a b")], "y"),
    ("warm before more VRAM", wants("a"), [spot("x", free=9 * GIB), spot("y", warm="a")], "y"),
    ("cold for all: more VRAM", wants("a"), [spot("x", warm="b"), spot("y", free=2 * GIB)], "y"),
    ("no models: more VRAM", wants(), [spot("x", warm="a"), spot("y", free=2 * GIB)], "y"),
    ("idle for longer", wants("a"), [spot("x", idle=50.0), spot("y", idle=40.0)], "y"),
    ("never used at all", wants("a"), [spot("x", idle=50.0), spot("y")], "y"),
    ("suspect comes last", wants("a"), [spot("x", liveness=Suspect(1), warm="a", free=9 * GIB), spot("y")], "y"),
    ("suspect is better than none", wants("a"), [spot("x", liveness=Suspect(2)), spot("y", held=1)], "x"),
    ("suspect but shorter", wants("a"), [spot("x", liveness=Suspect(0)), spot("y", foreign=1)], "x"),
    ("half-open is an equal", wants("a"), [spot("x", liveness=HalfOpen(), idle=1.0), spot("y", idle=2.0)], "x"),
    ("half-open takes one", wants("a"), [spot("x", liveness=HalfOpen(), held=1)], None),
]


@pytest.mark.parametrize(("demand", "able", "name"), [pytest.param(*case[1:], id=case[0]) for case in CASES])
@pytest.mark.parametrize("turned", [False, True])
def test_least_queue(demand: Demand, able: list[Spot], name: str | None, turned: bool) -> None:
    chosen = LeastQueue().pick(demand, able[::-1] if turned else able)
    assert (chosen and chosen.name) == name


def test_round_robin_goes_round_by_name_past_the_busy_ones() -> None:
    policy = RoundRobin()
    able = [spot("c"), spot("a"), spot("d", held=1), spot("b", foreign=5)]
    taken = [policy.pick(wants(), able) for _ in range(5)]
    assert [each.name for each in taken if each] == ["a", "b", "c", "a", "b"]
    assert policy.pick(wants(), able[2:3]) is None


def test_random_takes_any_that_is_free() -> None:
    policy = RandomChoice(Random(1))
    able = [spot("a"), spot("b"), spot("c", held=1)]
    taken = [policy.pick(wants(), able) for _ in range(50)]
    assert {each.name for each in taken if each} == {"a", "b"}
    assert None not in taken
    assert policy.pick(wants(), able[2:]) is None


@pytest.mark.parametrize("name", ["least-queue", "round-robin", "random"])
def test_every_policy_takes_one_of_those_it_was_shown_or_none(name: str) -> None:
    policy = POLICIES[name](Random(0))
    assert isinstance(policy, Picker)
    able = [spot("a"), spot("b", held=1)]
    assert policy.pick(wants("a"), able) is able[0]
    assert policy.pick(wants("a"), able[1:]) is None
    assert policy.pick(wants("a"), []) is None
