from __future__ import annotations

from typing import Any

import pytest

from gateway.domain.validation import Generation, Invalid, Valid, validate
from tests.domain.catalogues import BASE, classes, info, node

NODES = classes(
    **BASE,
    Text=info({}, gives=["STRING", ["a", "b"]]),
    End=info({"needed": ["INT", {"tooltip": "t"}]}, {"extra": ["INT"], "kind": [["a", "b"]]}, output_node=True),
    Hidden={**info({}, output_node=True), "input": {"required": {}, "hidden": {"unique_id": "UNIQUE_ID"}}},
    Grows=info(
        {
            "x": [
                "COMFY_AUTOGROW_V3",
                {"template": {"input": {"required": {"i": ["INT"]}}, "prefix": "i", "min": 1, "max": 2}},
            ]
        },
        output_node=True,
    ),
)


def faults(output: Any, generation: Generation = Generation.OLD) -> list[Any]:
    verdict = validate({"1": node("Source", size=1), "2": node("Text"), "9": output}, NODES, generation=generation)
    if isinstance(verdict, Valid):
        return []
    assert isinstance(verdict, Invalid)
    errors: list[Any] = verdict.node_errors["9"]["errors"]
    return errors


def test_inputs_that_are_needed_and_inputs_that_are_not() -> None:
    assert faults(node("End", needed=1)) == []
    assert faults(node("Hidden")) == []
    assert faults(node("End", undeclared="x", needed=1)) == []
    assert faults(node("End")) == [
        {
            "type": "required_input_missing",
            "message": "Required input is missing",
            "details": "needed",
            "extra_info": {"input_name": "needed"},
        }
    ]


def test_all_faults_of_a_node_are_told_in_the_order_of_its_inputs() -> None:
    kinds = [error["type"] for error in faults(node("End", kind="z", extra="x", needed=[1]))]
    assert kinds == ["bad_linked_input", "invalid_input_type", "value_not_in_list"]


@pytest.mark.parametrize("link", [[], ["1"], ["1", 0, 0]])
def test_lists_that_are_no_links(link: list[Any]) -> None:
    assert faults(node("End", needed=link)) == [
        {
            "type": "bad_linked_input",
            "message": "Bad linked input, must be a length-2 list of [node_id, slot_index]",
            "details": "needed",
            "extra_info": {"input_name": "needed", "input_config": ["INT", {"tooltip": "t"}], "received_value": link},
        }
    ]


def test_types_that_do_not_fit() -> None:
    assert faults(node("End", needed=["1", 0])) == [
        {
            "type": "return_type_mismatch",
            "message": "Return type mismatch between linked nodes",
            "details": "needed, received_type(IMAGE) mismatch input_type(INT)",
            "extra_info": {
                "input_name": "needed",
                "input_config": ["INT", {"tooltip": "t"}],
                "received_type": "IMAGE",
                "linked_node": ["1", 0],
            },
        }
    ]
    (error,) = faults(node("End", needed=1, kind=["2", 0]))
    assert error["details"] == "kind, received_type(STRING) mismatch input_type(['a', 'b'])"
    assert faults(node("End", needed=1, kind=["2", 1])) == []


@pytest.mark.parametrize("inputs", [[], "x", ["other"]])
def test_a_list_or_a_text_for_the_inputs_has_none_of_them(inputs: Any) -> None:
    (error,) = faults({"class_type": "End", "inputs": inputs})
    assert (error["type"], error["details"]) == ("required_input_missing", "needed")


def test_a_dynamic_input_is_asked_for_by_its_last_name() -> None:
    (error,) = faults(node("Grows"), Generation.NEW)
    assert (error["details"], error["extra_info"]) == ("i0", {"input_name": "x.i0"})
    assert faults(node("Grows", **{"x.i0": 1, "x.i1": "2"}), Generation.NEW) == []
