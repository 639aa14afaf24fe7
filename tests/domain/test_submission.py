from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.errors import BrokenBody, PromptRefused
from gateway.domain.ids import PromptId
from gateway.domain.submission import MAX_DEPTH, MAX_NODES, Submission
from gateway.domain.submission import parse as parse_submission

NODE = {"class_type": "X", "inputs": {}}
GRAPH = {"1": NODE, "12": NODE}


def parse(body: object) -> Submission:
    return parse_submission(body, PromptId("minted"))


def deep(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels):
        value = [value]
    return value


def test_the_least() -> None:
    found = parse({"prompt": GRAPH})
    assert found.graph == GRAPH
    assert (found.prompt_id, found.client_id, found.number, found.front, found.targets) == (
        "minted",
        None,
        None,
        False,
        None,
    )
    assert (found.extra_data, found.rest) == ({}, {})


def test_all_keys() -> None:
    found = parse(
        {
            "prompt": GRAPH,
            "prompt_id": "p",
            "client_id": "c",
            "extra_data": {"extra_pnginfo": {"workflow": None}},
            "front": 1,
            "partial_execution_targets": ["1", 3, "77"],
            "seed_mode": "x",
        }
    )
    assert (found.prompt_id, found.client_id, found.front) == ("p", "c", True)
    assert found.extra_data == {"extra_pnginfo": {"workflow": None}, "client_id": "c"}
    assert found.targets == ("1", "77")
    assert found.rest == {"seed_mode": "x"}


@pytest.mark.parametrize("body", [{}, [], "", "x", ["x"], {"foo": 1}, {"number": 1}, {"prompt_id": {}}])
def test_no_prompt(body: Any) -> None:
    with pytest.raises(PromptRefused) as refused:
        parse(body)
    assert refused.value.kind == "no_prompt"


@pytest.mark.parametrize(
    "body",
    [
        None, 3, 1.5, True, ["prompt"], "the prompt", ["number"],
        {"prompt": None}, {"prompt": "x"}, {"prompt": 3}, {"prompt": True}, {"prompt": ["1"]}, {"prompt": [NODE]},
        {"prompt": GRAPH, "number": None}, {"prompt": GRAPH, "number": "abc"}, {"prompt": GRAPH, "number": []},
        {"number": "abc"}, {"prompt": GRAPH, "number": 10**400},
        {"prompt": {"last_node_id": 5, "nodes": []}}, {"prompt": {"1": None}}, {"prompt": {"1": True}},
        {"prompt": {"1": "my class_type"}}, {"prompt": {"1": ["class_type"]}},
        {"prompt": {"1": {"class_type": {}}}}, {"prompt": {"1": {"class_type": []}}},
        {"prompt": GRAPH, "partial_execution_targets": 3}, {"prompt": GRAPH, "partial_execution_targets": False},
    ],
)  # fmt: skip
def test_what_comfyui_answers_a_bare_500_to(body: Any) -> None:
    with pytest.raises(BrokenBody):
        parse(body)


@pytest.mark.parametrize("prompt", [{}, [], ""])
def test_an_empty_prompt_is_left_to_validation(prompt: Any) -> None:
    assert parse({"prompt": prompt}).graph == {}


@pytest.mark.parametrize("node", ["text", [], ["inputs"]])
def test_a_list_or_a_text_for_a_node_lacks_its_class(node: Any) -> None:
    with pytest.raises(PromptRefused) as refused:
        parse({"prompt": {"1": NODE, "id": node, "last": 5}})
    assert refused.value.kind == "invalid_prompt"
    assert refused.value.details == "Node ID '#id'"


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"extra_data": None}, "extra_data"),
        ({"extra_data": None, "client_id": "c"}, "extra_data"),
        ({"extra_data": []}, "extra_data"),
        ({"extra_data": "x"}, "extra_data"),
        ({"client_id": {}}, "client_id"),
        ({"client_id": []}, "client_id"),
        ({"extra_data": {"client_id": {}}}, "client_id"),
        ({"client_id": "\ud800"}, "client_id"),
        ({"client_id": "c" * 513}, "client_id"),
        ({"prompt_id": "a\udfffb"}, "prompt_id"),
        ({"prompt_id": "p" * 513}, "prompt_id"),
        ({"prompt_id": ["p" * 513]}, "prompt_id"),
        ({"number": float("nan")}, "number"),
        ({"number": float("-inf")}, "number"),
        ({"number": "Infinity"}, "number"),
        ({"extra_data": {"x": deep(MAX_DEPTH)}}, "prompt"),
        ({"other": deep(MAX_DEPTH)}, "prompt"),
        ({"prompt": {str(number): NODE for number in range(MAX_NODES + 1)}}, "prompt"),
    ],
)
def test_poison_is_refused_and_named(more: dict[str, Any], field: str) -> None:
    with pytest.raises(PromptRefused) as refused:
        parse({"prompt": GRAPH, **more})
    body = refused.value.body()
    assert body["error"]["type"] == "invalid_request"
    assert body["error"]["extra_info"] == {"field": field}
    assert field in body["error"]["message"] or field == "prompt"
    assert body["node_errors"] == {}


def test_the_limits_themselves_are_fine() -> None:
    nodes = {str(number): NODE for number in range(MAX_NODES)}
    found = parse({"prompt": nodes, "prompt_id": "p" * 512, "client_id": "c" * 512, "x": deep(MAX_DEPTH - 2)})
    assert len(found.graph) == MAX_NODES


def test_a_body_of_any_depth_is_refused_without_recursion() -> None:
    with pytest.raises(PromptRefused):
        parse({"prompt": GRAPH, "x": deep(100_000)})


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (123, "123"), (None, "minted"), (True, "True"), (1.5, "1.5"), ("", ""), ("None", "None"), ("ünï", "ünï"),
        (["a"], "['a']"), ({}, "{}"), ("not a uuid", "not a uuid"),
    ],
)  # fmt: skip
def test_any_prompt_id_is_taken_as_text(sent: Any, kept: str) -> None:
    assert parse({"prompt": GRAPH, "prompt_id": sent}).prompt_id == kept


@pytest.mark.parametrize(
    ("more", "client_id", "stored"),
    [
        ({"client_id": 123}, "123", {"client_id": 123}),
        ({"client_id": None}, None, {"client_id": None}),
        ({"client_id": ""}, None, {"client_id": ""}),
        ({"extra_data": {"client_id": "inner", "x": 1}}, "inner", {"client_id": "inner", "x": 1}),
        ({"extra_data": {"client_id": "inner", "x": 1}, "client_id": "outer"}, "outer", {"client_id": "outer", "x": 1}),
        ({"extra_data": {"client_id": {}}, "client_id": "outer"}, "outer", {"client_id": "outer"}),
        ({"extra_data": {"x": 1}, "client_id": "outer"}, "outer", {"x": 1, "client_id": "outer"}),
    ],
)
def test_whose_prompt_it_is(more: dict[str, Any], client_id: str | None, stored: dict[str, Any]) -> None:
    found = parse({"prompt": GRAPH, **more})
    assert found.client_id == client_id
    assert json.dumps(found.extra_data) == json.dumps(stored)


def test_the_body_is_not_changed() -> None:
    body = {"prompt": GRAPH, "extra_data": {"x": 1}, "client_id": "c"}
    before = json.dumps(body)
    parse(body)
    assert json.dumps(body) == before


@pytest.mark.parametrize(
    ("more", "number", "front"),
    [
        ({"number": 5}, 5.0, False), ({"number": "2.5"}, 2.5, False), ({"number": True}, 1.0, False),
        ({"number": -3, "front": True}, -3.0, False), ({"front": True}, None, True), ({"front": "yes"}, None, True),
        ({"front": False}, None, False), ({"front": None}, None, False),
    ],
)  # fmt: skip
def test_number_and_front(more: dict[str, Any], number: float | None, front: bool) -> None:
    found = parse({"prompt": GRAPH, **more})
    assert (found.number, found.front) == (number, front)


@pytest.mark.parametrize(
    ("sent", "targets"),
    [(None, None), ([], ()), (["12"], ("12",)), ("12", ("1", "12")), ({"1": 0}, ("1",)), ([None, 3], ())],
)
def test_targets(sent: Any, targets: tuple[str, ...] | None) -> None:
    assert parse({"prompt": GRAPH, "partial_execution_targets": sent}).targets == targets


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
KEYS = ["prompt", "prompt_id", "client_id", "extra_data", "number", "front", "partial_execution_targets", "x"]


@settings(deadline=None)
@given(
    anything
    | st.dictionaries(st.sampled_from(KEYS), anything)
    | st.fixed_dictionaries({"prompt": st.just(GRAPH)}, optional=dict.fromkeys(KEYS[1:], anything))
)
def test_every_body_is_taken_or_refused_in_known_ways(body: Any) -> None:
    try:
        found = parse(body)
    except (PromptRefused, BrokenBody):
        return
    assert isinstance(body, dict)
    assert all(isinstance(node, dict) for node in found.graph.values())
    assert found.client_id != ""
    for name in (found.client_id, found.prompt_id):
        assert name is None or len(name.encode()) <= 4 * 512
    json.dumps(found.extra_data)
