"""One literal value of a node: converted, then held against range and list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.domain.inputs import COMBO, InputSpec
from gateway.domain.validation import reasons
from gateway.domain.validation.verdict import Generation, Reason


def convert(spec: InputSpec, inputs: dict[str, Any]) -> Reason | None:
    """Puts the converted value into `inputs`, unwrapped from `__value__`, which is how a list is sent as a value."""
    value = inputs[spec.name]
    if isinstance(value, dict) and "__value__" in value:
        value = inputs[spec.name] = value["__value__"]
    converter = _converter(spec)
    if converter is None:
        return None
    try:
        inputs[spec.name] = converter(value)
    except (TypeError, ValueError, OverflowError) as error:
        return reasons.not_converted(spec, value, error)
    return None


def _converter(spec: InputSpec) -> Callable[[Any], object] | None:
    match spec.type:
        case "INT":
            return int
        case "FLOAT":
            return float
        case "STRING":
            return str
        case "BOOLEAN":
            return bool
        case _:
            return None


def out_of_range(spec: InputSpec, value: Any) -> Reason | None:
    """Raises TypeError where the value and its limit cannot be compared, as ComfyUI does."""
    if "min" in spec.config and value < spec.config["min"]:
        return reasons.too_small(spec, value)
    if "max" in spec.config and value > spec.config["max"]:
        return reasons.too_big(spec, value)
    return None


def not_offered(spec: InputSpec, value: object, generation: Generation) -> Reason | None:
    """0.3.64 looks only at combos spelt as a list; newer ones also at COMBO, and at each value of a multiselect."""
    if generation is Generation.OLD:
        if not isinstance(spec.declared, list) or spec.offers(value):
            return None
        return reasons.not_in_list(spec, value, f"'{value}'")
    if spec.type != COMBO or (spec.declared == COMBO and spec.config.get("remote_combo")):
        return None
    chosen = value if spec.multiselect and isinstance(value, list) else [value]
    strangers = [one for one in chosen if not spec.offers(one)]
    if not strangers:
        return None
    return reasons.not_in_list(spec, value, ", ".join(map(repr, strangers)))
