from __future__ import annotations

from gateway.adapters.redis_values import dump_demand, dump_work, load_demand, load_work
from gateway.domain.demand import Choice, Demand
from gateway.domain.placement.estimates import NOTHING, Model, Work

CHOICE = Choice("Load", "model", "a b.pt")


def test_a_demand_comes_back() -> None:
    for demand in (
        Demand(frozenset(), frozenset(), frozenset()),
        Demand(frozenset({"Load"}), frozenset({CHOICE}), frozenset({"a b.pt"}), 5),
    ):
        assert load_demand(dump_demand(demand).encode(), demand.min_vram) == demand


def test_work_comes_back_without_its_parts() -> None:
    work = Work("shape", "nodes", frozenset({Model("a.pt", 5)}), size=2.0)
    assert load_work(dump_work(work).encode()) == work
    assert load_work(b"") == NOTHING
