from __future__ import annotations

from typing import Any

from gateway.domain.dynamic import inputs_of
from tests.domain.catalogues import catalogue, info

RESIZE = ["COMFY_DYNAMICCOMBO_V3", {"options": [
    {"key": "by size", "inputs": {"required": {"width": ["INT", {"min": 1}]}, "optional": {"model": [["m.pth"]]}}},
    {"key": "by factor", "inputs": {"required": {"factor": ["FLOAT", {}]}}},
]}]  # fmt: skip
GROWING = ["COMFY_AUTOGROW_V3", {"template": {
    "input": {"required": {"image": ["IMAGE", {}]}}, "prefix": "image", "min": 1, "max": 3,
}}]  # fmt: skip
NAMED = ["COMFY_AUTOGROW_V3", {"template": {
    "input": {"optional": {"v": ["INT", {}]}}, "names": ["a", "b"], "min": 2,
}}]  # fmt: skip
SLOT = ["COMFY_DYNAMICSLOT_V3", {"slotType": "MASK", "inputs": {"required": {"grow": ["INT", {}]}}}]


def expand(raw: Any, given: dict[str, Any]) -> list[tuple[str, str, str]]:
    node = catalogue({"N": info({"x": raw, "plain": ["INT"]})}).nodes["N"]
    return [(spec.name, spec.need, spec.type) for spec in inputs_of(node, given).values()]


PLAIN = ("plain", "required", "INT")


def test_a_dynamic_combo_brings_the_inputs_of_its_choice() -> None:
    combo = ("x", "required", "COMFY_DYNAMICCOMBO_V3")
    assert expand(RESIZE, {"x": "by size"}) == [
        ("x.width", "required", "INT"),
        ("x.model", "optional", "COMBO"),
        combo,
        PLAIN,
    ]
    assert expand(RESIZE, {"x": "by factor"}) == [("x.factor", "required", "FLOAT"), combo, PLAIN]
    assert expand(RESIZE, {"x": "no such"}) == [PLAIN]
    assert expand(RESIZE, {}) == [PLAIN]


def test_an_autogrow_input_needs_its_least_and_takes_more() -> None:
    assert expand(GROWING, {}) == [
        ("x.image0", "required", "IMAGE"),
        ("x.image1", "optional", "IMAGE"),
        ("x.image2", "optional", "IMAGE"),
        PLAIN,
    ]
    assert expand(NAMED, {}) == [("x.a", "optional", "INT"), ("x.b", "optional", "INT"), PLAIN]


def test_a_slot_brings_its_inputs_once_it_is_given() -> None:
    assert expand(SLOT, {}) == [PLAIN]
    assert expand(SLOT, {"x": ["1", 0]}) == [
        ("x.grow", "required", "INT"),
        ("x", "required", "COMFY_DYNAMICSLOT_V3"),
        PLAIN,
    ]


def test_templates_that_make_no_sense_bring_nothing() -> None:
    nonsense: list[dict[str, Any]] = [
        {},
        {"template": None},
        {"template": {"input": {}}},
        {"options": 3},
        {"inputs": 3},
    ]
    for config in nonsense:
        for kind in ("COMFY_AUTOGROW_V3", "COMFY_DYNAMICCOMBO_V3"):
            assert expand([kind, config], {"x": "by size"}) == [PLAIN]


def test_growth_is_bounded() -> None:
    template = {"input": {"required": {"i": ["INT"]}}, "prefix": "i", "min": 10**9, "max": 10**9}
    assert len(expand(["COMFY_AUTOGROW_V3", {"template": template}], {})) == 101


def test_a_class_without_dynamic_inputs_is_not_copied() -> None:
    node = catalogue({"N": info({"plain": ["INT"]})}).nodes["N"]
    assert inputs_of(node, {}) is node.inputs
