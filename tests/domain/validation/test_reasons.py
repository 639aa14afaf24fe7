from __future__ import annotations

import json
from typing import Any

from gateway.domain.inputs import InputSpec
from gateway.domain.validation import reasons
from tests.domain.catalogues import catalogue, info

INPUTS: dict[str, Any] = {
    "n": ["INT", {"min": 1, "max": 9}],
    "few": [["a", "b"], {"default": "a"}],
    "many": [[str(n) for n in range(21)], {}],
}
NODE = catalogue({"Node": info(INPUTS)}).nodes["Node"]


def spec(name: str) -> InputSpec:
    return NODE.inputs[name]


def test_keys_come_in_comfyuis_order() -> None:
    told = reasons.reason("kind", "message", "details")
    assert json.dumps(told) == '{"type": "kind", "message": "message", "details": "details", "extra_info": {}}'


def test_a_bound_that_is_passed_is_named_with_the_inputs_declaration() -> None:
    small, big = reasons.too_small(spec("n"), 0), reasons.too_big(spec("n"), 10)
    assert (small["message"], big["message"]) == ("Value 0 smaller than min of 1", "Value 10 bigger than max of 9")
    assert small["extra_info"] == {"input_name": "n", "input_config": INPUTS["n"], "received_value": 0}
    assert list(big["extra_info"]) == ["input_name", "input_config", "received_value"]


def test_a_short_list_is_shown_and_a_long_one_counted() -> None:
    short, long = (reasons.not_in_list(spec(name), "z", "'z'") for name in ("few", "many"))
    assert short["details"] == "few: 'z' not in ['a', 'b']"
    assert short["extra_info"]["input_config"] == INPUTS["few"]
    assert long["details"] == "many: 'z' not in (list of length 21)"
    assert long["extra_info"] == {"input_name": "many", "input_config": None, "received_value": "z"}


def test_a_value_that_cannot_be_converted_is_told_with_the_reason() -> None:
    told = reasons.not_converted(spec("n"), "x", ValueError("no number"))
    assert told["message"] == "Failed to convert an input value to a INT value"
    assert told["details"] == "n, x, no number"
    assert told["extra_info"]["exception_message"] == "no number"


def test_a_link_to_another_type_names_both() -> None:
    told = reasons.type_mismatch(spec("n"), "IMAGE", ["4", 0])
    assert told["details"] == "n, received_type(IMAGE) mismatch input_type(INT)"
    assert told["extra_info"]["linked_node"] == ["4", 0]


def test_exceptions_are_told_by_their_name_and_without_a_traceback() -> None:
    error = KeyError("7")
    inner, outer = reasons.inner_exception(spec("n"), error, ["7", 0]), reasons.output_exception(error)
    assert inner["details"] == outer["details"] == "'7'"
    assert inner["extra_info"]["exception_type"] == outer["extra_info"]["exception_type"] == "KeyError"
    assert inner["extra_info"]["traceback"] == outer["extra_info"]["traceback"] == []
    assert list(outer["extra_info"]) == ["exception_type", "traceback"]


def test_a_nodes_own_verdict_is_shown_unless_it_is_a_bare_no() -> None:
    assert reasons.custom_failed("n", "too odd")["details"] == "n - too odd"
    assert reasons.custom_failed("n", False)["details"] == "n"
