from __future__ import annotations

from typing import Any

import pytest

from gateway.domain.inputs import InputSpec, read_input
from gateway.domain.validation import Generation
from gateway.domain.validation.values import convert, not_offered, out_of_range

OLD, NEW = Generation.OLD, Generation.NEW
TEN = [f"{letter}{digit}" for letter in "ab" for digit in range(10)]


def spec(*raw: Any) -> InputSpec:
    return read_input("N", "x", "required", list(raw))


@pytest.mark.parametrize(
    ("kind", "sent", "kept"),
    [
        ("INT", "20", 20), ("INT", 2.9, 2), ("INT", True, 1), ("INT", {"__value__": "7"}, 7),
        ("FLOAT", "2.5", 2.5), ("FLOAT", 3, 3.0), ("STRING", 5, "5"), ("STRING", None, "None"),
        ("STRING", {"a": 1}, "{'a': 1}"),
        ("BOOLEAN", "false", True), ("BOOLEAN", 0, False), ("BOOLEAN", None, False),
        ("OTHER", {"__value__": [1, 2]}, [1, 2]), ("OTHER", {"a": 1}, {"a": 1}), ("OTHER", "20", "20"),
    ],
)  # fmt: skip
def test_conversions(kind: str, sent: Any, kept: Any) -> None:
    inputs = {"x": sent}
    assert convert(spec(kind), inputs) is None
    assert inputs["x"] == kept
    assert type(inputs["x"]) is type(kept)


@pytest.mark.parametrize(
    ("kind", "sent", "text"),
    [
        ("INT", "abc", "invalid literal for int() with base 10: 'abc'"),
        ("INT", "2.5", "invalid literal for int() with base 10: '2.5'"),
        ("INT", float("inf"), "cannot convert float infinity to integer"),
        ("INT", float("nan"), "cannot convert float NaN to integer"),
        ("FLOAT", 10**400, "int too large to convert to float"),
        ("FLOAT", "x", "could not convert string to float: 'x'"),
    ],
)
def test_what_does_not_convert(kind: str, sent: Any, text: str) -> None:
    inputs = {"x": {"__value__": sent}}
    error = convert(spec(kind, {"min": 1}), inputs)
    assert error == {
        "type": "invalid_input_type",
        "message": f"Failed to convert an input value to a {kind} value",
        "details": f"x, {sent}, {text}",
        "extra_info": {
            "input_name": "x",
            "input_config": [kind, {"min": 1}],
            "received_value": sent,
            "exception_message": text,
        },
    }


def test_none_for_a_number() -> None:
    error = convert(spec("FLOAT"), {"x": None})
    assert error is not None
    assert error["details"].startswith("x, None, float() argument must be")


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (0, "value_smaller_than_min", "Value 0 smaller than min of 1"),
        (101, "value_bigger_than_max", "Value 101 bigger than max of 100"),
        (1, None, None),
        (100, None, None),
        (float("nan"), None, None),
    ],
)
def test_ranges(value: float, kind: str | None, message: str | None) -> None:
    error = out_of_range(spec("INT", {"min": 1, "max": 100}), value)
    assert (error and error["type"], error and error["message"]) == (kind, message)


def test_a_value_that_cannot_be_compared() -> None:
    with pytest.raises(TypeError, match="not supported between instances of 'str' and 'int'"):
        out_of_range(spec("CUSTOM", {"min": 1}), "x")


@pytest.mark.parametrize("spelling", [[["a", "b"], {}], ["COMBO", {"options": ["a", "b"]}]])
@pytest.mark.parametrize("generation", Generation)
def test_an_offered_value(spelling: list[Any], generation: Generation) -> None:
    assert not_offered(spec(*spelling), "a", generation) is None


@pytest.mark.parametrize(
    ("raw", "value", "generation", "details"),
    [
        ([["a", "b"]], "z", OLD, "x: 'z' not in ['a', 'b']"),
        ([["a", "b"]], 3, OLD, "x: '3' not in ['a', 'b']"),
        ([["a", "b"]], 3, NEW, "x: 3 not in ['a', 'b']"),
        ([TEN], "z", OLD, "x: 'z' not in " + str(TEN)),
        ([[*TEN, "one more"]], "z", OLD, "x: 'z' not in (list of length 21)"),
        (["COMBO", {"options": ["a"]}], "z", OLD, None),
        (["COMBO", {"options": ["a"]}], "z", NEW, "x: 'z' not in ['a']"),
        (["COMBO", {}], "z", NEW, "x: 'z' not in []"),
        (["COMBO", {"options": ["a"], "remote_combo": {"route": "/x"}}], "z", NEW, None),
        (["COMBO", {"options": ["a", "b"], "multiselect": True}], ["b", "a"], NEW, None),
        (["COMBO", {"options": ["a"], "multiselect": True}], ["y", "a", "z"], NEW, "x: 'y', 'z' not in ['a']"),
        (["COMBO", {"options": ["a"]}], ["a"], NEW, "x: ['a'] not in ['a']"),
        ([["a"]], {"k": 1}, NEW, "x: {'k': 1} not in ['a']"),
        (["IMAGE", {}], "z", NEW, None),
    ],
)
def test_values_that_no_list_has(raw: list[Any], value: Any, generation: Generation, details: str | None) -> None:
    error = not_offered(spec(*raw), value, generation)
    assert (error and error["details"]) == details
    if error is not None:
        long = "list of length" in error["details"]
        assert error["extra_info"] == {
            "input_name": "x",
            "input_config": None if long else [*raw, {}][:2],
            "received_value": value,
        }
