from __future__ import annotations

from gateway.domain.ids import WorkerName
from gateway.domain.placement import Constant, Model, Work


def test_with_nothing_known_all_cost_the_same_everywhere() -> None:
    known = Constant(2.0)
    big = Work("shape", "nodes", frozenset({Model("a", 5), Model("b", 7)}))
    for name in ("x", "y"):
        assert known.run(Work(), WorkerName(name)) == known.run(big, WorkerName(name)) == 2.0
        assert known.load(Model("a", 5), WorkerName(name)) == 0.0


def test_the_bytes_of_a_work_are_its_models() -> None:
    assert Work(models=frozenset({Model("a", 5), Model("b", 7), Model("c")})).bytes == 12
    assert Work().bytes == 0
