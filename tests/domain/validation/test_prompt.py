from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.validation import Generation, Invalid, Valid, validate
from tests.domain.catalogues import BASE, classes, info, node

NODES = classes(**BASE)
GOOD = {"1": node("Source", size=5), "2": node("Sink", images=["1", 0])}
BOTH = pytest.mark.parametrize("generation", Generation)


def refused(graph: Any, generation: Generation = Generation.OLD, **more: Any) -> Invalid:
    verdict = validate(graph, NODES, generation=generation, **more)
    assert isinstance(verdict, Invalid)
    return verdict


@BOTH
def test_a_good_graph(generation: Generation) -> None:
    verdict = validate(GOOD, NODES, generation=generation)
    assert verdict == Valid(GOOD, ("2",), {})


def test_values_are_converted_in_a_copy() -> None:
    graph = {"1": {**node("Source", size="20"), "_meta": {"title": "t"}}, "2": node("Sink", images=["1", 0])}
    before = copy.deepcopy(graph)
    verdict = validate(graph, NODES)
    assert isinstance(verdict, Valid)
    assert verdict.graph["1"] == {"class_type": "Source", "inputs": {"size": 20}, "_meta": {"title": "t"}}
    assert graph == before


def test_only_what_outputs_need_is_looked_at() -> None:
    loose = {"9": node("Source", size="many"), "8": node("Pass")}
    verdict = validate({**GOOD, **loose}, NODES)
    assert isinstance(verdict, Valid)
    assert verdict.node_errors == {}
    assert verdict.graph["9"] == loose["9"]


def test_class_names_of_all_nodes_are_looked_at() -> None:
    assert refused({**GOOD, "9": node("Nope")}).error == {
        "type": "invalid_prompt",
        "message": "Cannot execute because node Nope does not exist.",
        "details": "Node ID '#9'",
        "extra_info": {},
    }


@pytest.mark.parametrize(
    ("bad", "message", "class_type", "title"),
    [
        (node("Nope"), "Node 'Nope' not found. The custom node may not be installed.", "Nope", "Nope"),
        (
            {**node("Nope"), "_meta": {"title": "Mine"}},
            "Node 'Mine' not found. The custom node may not be installed.",
            "Nope",
            "Mine",
        ),
        (
            {"inputs": {}},
            "Node 'ID #9' has no class_type. The workflow may be corrupted or a custom node is missing.",
            None,
            None,
        ),
        (
            {"inputs": {}, "_meta": {"title": "Mine"}},
            "Node 'Mine' has no class_type. The workflow may be corrupted or a custom node is missing.",
            None,
            "Mine",
        ),
    ],
)
def test_the_new_words_for_an_unknown_class(bad: Any, message: str, class_type: str | None, title: str | None) -> None:
    assert refused({**GOOD, "9": bad}, Generation.NEW).error == {
        "type": "missing_node_type",
        "message": message,
        "details": "Node ID '#9'",
        "extra_info": {"node_id": "9", "class_type": class_type, "node_title": title},
    }


@pytest.mark.parametrize(
    ("targets", "outputs"), [(None, ("2", "3")), (("3",), ("3",)), (("3", "77"), ("3",)), ((), None), (("1",), None)]
)
def test_targets(targets: tuple[str, ...] | None, outputs: tuple[str, ...] | None) -> None:
    graph = {**GOOD, "3": node("Sink", images=["1", 0])}
    verdict = validate(graph, NODES, targets=targets)
    if outputs is None:
        assert isinstance(verdict, Invalid)
        assert verdict.error["type"] == "prompt_no_outputs"
    else:
        assert isinstance(verdict, Valid)
        assert verdict.outputs == outputs


def test_nothing_at_all() -> None:
    assert refused({}).error["type"] == "prompt_no_outputs"


@BOTH
def test_one_bad_output_is_left_out(generation: Generation) -> None:
    graph = {**GOOD, "3": node("Sink"), "4": node("Sink", images=["5", 0]), "5": node("Source", size=0)}
    verdict = validate(graph, NODES, generation=generation)
    assert isinstance(verdict, Valid)
    assert verdict.outputs == ("2",)
    assert {key: error["dependent_outputs"] for key, error in verdict.node_errors.items()} == {
        "3": ["3", "4"],  # an earlier output's faults are counted with the later one too, as ComfyUI does
        "5": ["4"],
    }
    assert verdict.doubtful


def test_the_details_hold_the_outputs_own_faults() -> None:
    verdict = refused({"3": node("Sink"), "4": node("Sink", images=["5", 0]), "5": node("Source", size=0)})
    assert verdict.error["details"] == "Required input is missing: images"
    assert verdict.error["type"] == "prompt_outputs_failed_validation"


@pytest.mark.parametrize(
    ("bad", "module", "doubtful"),
    [
        (node("N", size=0, kind="a"), "custom_nodes.x", True),
        (node("N", size=0, kind="a"), "nodes", False),
        (node("N", size=1, kind="b"), "comfy_extras.nodes_x", True),
        (node("N", size="x", kind="a"), "custom_nodes.x", False),
        (node("N", kind="a"), "custom_nodes.x", False),
    ],
)
def test_what_a_worker_may_see_otherwise_is_doubtful(bad: Any, module: str, doubtful: bool) -> None:
    nodes = classes(N=info({"size": ["INT", {"min": 1}], "kind": [["a"]]}, output_node=True, module=module))
    verdict = validate({"1": bad}, nodes)
    assert isinstance(verdict, Invalid)
    assert verdict.doubtful is doubtful


def test_many_bad_outputs_do_not_grow_without_bound() -> None:
    graph = {str(number): node("Sink") for number in range(3_000)}
    verdict = refused(graph)
    assert len(verdict.node_errors) == 3_000
    assert sum(len(error["dependent_outputs"]) for error in verdict.node_errors.values()) < 300_000
    assert all(node_id in error["dependent_outputs"] for node_id, error in verdict.node_errors.items())


links = st.lists(st.sampled_from(["1", "2", "3", "9"]) | st.integers(-2, 2) | st.none(), max_size=3)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
wrapped = st.dictionaries(st.sampled_from(["__value__", "x"]), st.integers() | st.lists(st.integers(), max_size=2))
values = scalars | links | wrapped
graphs = st.dictionaries(
    st.sampled_from(["1", "2", "3", "4"]),
    st.fixed_dictionaries(
        {"class_type": st.sampled_from(["Source", "Pass", "Sink", "Any"])},
        optional={
            "inputs": st.dictionaries(st.sampled_from(["image", "images", "size", "any"]), values)
            | st.none()
            | st.integers()
            | st.text(max_size=5)
            | st.lists(st.sampled_from(["image", "size"]))
        },
    ),
)


@BOTH
@settings(deadline=None)
@given(graph=graphs)
def test_any_graph_gets_a_verdict(graph: dict[str, Any], generation: Generation) -> None:
    nodes = {**NODES, **classes(Any=info({"any": ["*", {"min": 0}]}, gives=["*"], output_node=True))}
    before = copy.deepcopy(graph)
    verdict = validate(graph, nodes, generation=generation)
    assert repr(graph) == repr(before)
    json.dumps(verdict.node_errors)
    outputs = {key for key, one in graph.items() if nodes[one["class_type"]].output_node}
    if isinstance(verdict, Valid):
        assert set(verdict.outputs) <= outputs
        if "__value__" not in repr(graph):  # a list that is not wrapped any more is read as a link, by ComfyUI too
            again = validate(verdict.graph, nodes, generation=generation)
            assert isinstance(again, Valid)
            assert again.outputs == verdict.outputs
            assert repr(again.graph) == repr(verdict.graph), "converting twice must change nothing"
        assert bool(verdict.node_errors) <= (set(verdict.outputs) != outputs)
    elif outputs:
        assert verdict.error["type"] == "prompt_outputs_failed_validation"
    else:
        assert verdict.error["type"] == "prompt_no_outputs"
