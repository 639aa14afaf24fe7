"""The order of nodes, and what makes a result another."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.emulator.graph import Order, Signatures, link

GRAPH: dict[str, Any] = {
    "load": {"class_type": "Load", "inputs": {"name": "a"}},
    "long": {"class_type": "Work", "inputs": {"of": ["load", 0]}},
    "longer": {"class_type": "Work", "inputs": {"of": ["long", 0], "how": 2}},
    "save": {"class_type": "Save", "inputs": {"of": ["longer", 0]}},
    "peek": {"class_type": "Save", "inputs": {"of": ["load", 0]}},
}


def run(*outputs: str, cached: frozenset[str] = frozenset()) -> list[str]:
    order = Order(GRAPH, lambda node_id: GRAPH[node_id]["class_type"] == "Save", cached.__contains__)
    for output in outputs:
        order.add(output)
    done = []
    while (node_id := order.pick()) is not None:
        order.done(node_id)
        done.append(node_id)
    return done


def test_an_output_runs_as_soon_as_it_can() -> None:
    assert run("save", "peek") == ["load", "peek", "long", "longer", "save"]


def test_what_is_cached_is_not_run_but_an_output_is_told() -> None:
    assert run("save", cached=frozenset({"long"})) == ["longer", "save"]
    assert run("save", cached=frozenset(GRAPH)) == ["save"]


def test_a_cycle_runs_nothing() -> None:
    graph = {"a": {"inputs": {"of": ["b", 0]}}, "b": {"inputs": {"of": ["a", 0]}}}
    order = Order(graph, lambda _: False, lambda _: False)
    order.add("a")
    assert order.pick() is None
    assert Signatures(graph, lambda _: False, lambda _: "").of("a") is None


def sign(graph: dict[str, Any], node_id: str, changed: dict[str, str | None] | None = None) -> str | None:
    keys = changed or {}
    return Signatures(graph, lambda key: graph[key]["class_type"] == "Id", lambda key: keys.get(key, "")).of(node_id)


def test_the_id_does_not_count_unless_the_class_asks_for_it() -> None:
    renamed = {"x": GRAPH["load"], "y": {"class_type": "Save", "inputs": {"of": ["x", 0]}}}
    assert sign(GRAPH, "peek") == sign(renamed, "y")
    asking = {"1": {"class_type": "Id", "inputs": {}}, "2": {"class_type": "Id", "inputs": {}}}
    assert sign(asking, "1") != sign(asking, "2")


def test_everything_upstream_counts() -> None:
    other = {**GRAPH, "load": {"class_type": "Load", "inputs": {"name": "b"}}}
    assert sign(GRAPH, "save") != sign(other, "save")
    assert sign(GRAPH, "save") != sign(GRAPH, "save", {"load": "another content"})


def test_below_what_is_always_new_nothing_is_kept() -> None:
    assert sign(GRAPH, "save", {"load": None}) is None
    assert sign({"a": {"class_type": "Save", "inputs": {"of": ["gone", 0]}}}, "a") is None


@pytest.mark.parametrize("value", [["1", 0], ["1", 0.0]])
def test_links(value: Any) -> None:
    assert link(value) == ("1", 0)


@pytest.mark.parametrize("value", [["1"], [1, 0], ["1", "0"], "1", {"__value__": ["1", 0]}, ["1", 0, 0]])
def test_what_is_no_link(value: Any) -> None:
    assert link(value) is None
