from __future__ import annotations

from tests.domain.placement.makers import waiting, wants


def test_prompts_of_one_demand_that_the_same_workers_refused_are_of_a_kind() -> None:
    first, second, third = waiting("p", 1), waiting("q", 2, caller="you"), waiting("r", 3, no="x")
    assert first.kind == second.kind != third.kind
    assert waiting("s", 4, demand=wants("b")).kind != first.kind


def test_the_order_is_that_of_comfyuis_heap() -> None:
    assert sorted([waiting("b", 1), waiting("a", 1), waiting("c", 9, number=-1)], key=lambda p: p.order) == [
        waiting("c", 9, number=-1),
        waiting("a", 1),
        waiting("b", 1),
    ]
