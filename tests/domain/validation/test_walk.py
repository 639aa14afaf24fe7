from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.domain.validation import Generation, Invalid, Valid, validate
from tests.domain.catalogues import BASE, classes, info, node

NODES = classes(**BASE, Join=info({"a": ["IMAGE"], "b": ["IMAGE"]}, gives=["IMAGE"]))
BOTH = pytest.mark.parametrize("generation", Generation)
SINK = node("Sink", images=["a", 0])


def errors(graph: Any, generation: Generation) -> Any:
    verdict = validate(graph, NODES, generation=generation)
    assert isinstance(verdict, Invalid)
    return verdict.node_errors


@BOTH
def test_a_chain_of_ten_thousand_does_not_overflow(generation: Generation) -> None:
    graph = {"0": node("Source", size=1)}
    graph |= {str(number): node("Pass", image=[str(number - 1), 0]) for number in range(1, 10_000)}
    graph["end"] = node("Sink", images=["9999", 0])
    verdict = validate(graph, NODES, generation=generation)
    assert isinstance(verdict, Valid)
    graph["0"] = node("Source", size=0)
    assert list(errors(graph, generation)) == ["0"]


@BOTH
def test_a_node_that_many_need_is_judged_once(generation: Generation) -> None:
    # Without a memory, the forty joins would mean 2**40 visits.
    graph = {"0": node("Source", size=0)}
    graph |= {str(number): node("Join", a=[str(number - 1), 0], b=[str(number - 1), 0]) for number in range(1, 41)}
    graph["end"] = node("Sink", images=["40", 0])
    found = errors(graph, generation)
    assert list(found) == ["0"]
    assert len(found["0"]["errors"]) == 1


@BOTH
def test_a_broken_link_further_up_is_told_by_the_one_that_asked(generation: Generation) -> None:
    graph = {"a": node("Pass", image=["gone", 0]), "end": SINK}
    found = errors(graph, generation)
    assert found == {
        "a": {
            "errors": [
                {
                    "type": "exception_during_inner_validation",
                    "message": "Exception when validating inner node",
                    "details": "'gone'",
                    "extra_info": {
                        "input_name": "images",
                        "input_config": ["IMAGE", {}],
                        "exception_message": "'gone'",
                        "exception_type": "KeyError",
                        "traceback": [],
                        "linked_node": ["a", 0],
                    },
                }
            ],
            "dependent_outputs": ["end"],
            "class_type": "Pass",
        }
    }


@pytest.mark.parametrize(
    ("bad", "kind", "text"),
    [
        ({"class_type": "Sink"}, "KeyError", "'inputs'"),
        ({"class_type": "Sink", "inputs": None}, "TypeError", "argument of type 'NoneType' is not iterable"),
        (node("Sink", images=["gone", 0]), "KeyError", "'gone'"),
        (node("Sink", images=[7, 0]), "KeyError", "7"),
        (node("Sink", images=["s", 3]), "IndexError", "tuple index out of range"),
        (node("Sink", images=["s", "0"]), "TypeError", "tuple indices must be integers or slices, not str"),
        (node("Sink", images=[{}, 0]), "TypeError", "unhashable type: 'dict'"),
    ],
)
def test_what_breaks_at_an_output_itself(bad: Any, kind: str, text: str) -> None:
    found = errors({"end": bad, "s": node("Source", size=1)}, Generation.OLD)
    (error,) = found["end"]["errors"]
    assert error["type"] == "exception_during_validation"
    assert error["details"] == text
    assert error["extra_info"] == {"exception_type": kind, "traceback": []}


def test_a_cycle_in_the_old_generation_has_no_reason() -> None:
    graph = {"a": node("Pass", image=["b", 0]), "b": node("Pass", image=["a", 0]), "end": SINK}
    verdict = validate(graph, NODES)
    assert isinstance(verdict, Invalid)
    assert (verdict.error["details"], verdict.node_errors) == ("", {})


def test_a_cycle_in_the_new_generation_is_named_at_each_of_its_nodes() -> None:
    graph = {"a": node("Pass", image=["b", 0]), "b": node("Join", a=["a", 0]), "end": SINK}
    found = errors(graph, Generation.NEW)
    assert set(found) == {"a", "b"}
    assert found["a"]["errors"] == [
        {
            "type": "dependency_cycle",
            "message": "Dependency cycle detected",
            "details": "a (Pass) -> b (Join) -> a (Pass)",
            "extra_info": {"node_id": "a", "cycle_nodes": ["a", "b"]},
        }
    ]
    kinds = [error["type"] for error in found["b"]["errors"]]
    assert kinds == ["dependency_cycle", "required_input_missing"]


@BOTH
def test_a_node_that_needs_itself(generation: Generation) -> None:
    found = errors({"a": node("Pass", image=["a", 0]), "end": SINK}, generation)
    assert list(found) == ([] if generation is Generation.OLD else ["a"])


@BOTH
def test_a_long_cycle_gives_a_short_answer(generation: Generation) -> None:
    graph = {str(number): node("Pass", image=[str((number + 1) % 5_000), 0]) for number in range(5_000)}
    graph["end"] = node("Sink", images=["0", 0])
    assert len(json.dumps(errors(graph, generation))) < 1_000_000
