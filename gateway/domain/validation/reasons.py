"""The error objects, in the very words and key order of ComfyUI (execution.py; recording invalid.json)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.domain.inputs import InputSpec
from gateway.domain.validation.verdict import Reason

_LONG_LIST = 20


def reason(kind: str, message: str, details: str, extra_info: dict[str, Any] | None = None) -> Reason:
    return {"type": kind, "message": message, "details": details, "extra_info": extra_info or {}}


def input_missing(spec: InputSpec) -> Reason:
    """A dotted name is one of a dynamic input, whose last part is shown."""
    last = spec.name.rsplit(".", 1)[-1]
    return reason("required_input_missing", "Required input is missing", last, {"input_name": spec.name})


def bad_link(spec: InputSpec, value: object) -> Reason:
    message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
    return reason("bad_linked_input", message, spec.name, {**_about(spec), "received_value": value})


def type_mismatch(spec: InputSpec, received: object, link: object) -> Reason:
    return reason(
        "return_type_mismatch",
        "Return type mismatch between linked nodes",
        f"{spec.name}, received_type({received}) mismatch input_type({spec.declared})",
        {**_about(spec), "received_type": received, "linked_node": link},
    )


def inner_exception(spec: InputSpec, error: Exception, link: object) -> Reason:
    return reason(
        "exception_during_inner_validation",
        "Exception when validating inner node",
        str(error),
        {
            **_about(spec),
            "exception_message": str(error),
            "exception_type": type(error).__qualname__,
            "traceback": [],
            "linked_node": link,
        },
    )


def output_exception(error: Exception) -> Reason:
    return reason(
        "exception_during_validation",
        "Exception when validating node",
        str(error),
        {"exception_type": type(error).__qualname__, "traceback": []},
    )


def not_converted(spec: InputSpec, value: object, error: Exception) -> Reason:
    return reason(
        "invalid_input_type",
        f"Failed to convert an input value to a {spec.declared} value",
        f"{spec.name}, {value}, {error}",
        {**_about(spec), "received_value": value, "exception_message": str(error)},
    )


def too_small(spec: InputSpec, value: object) -> Reason:
    message = f"Value {value} smaller than min of {spec.config['min']}"
    return reason("value_smaller_than_min", message, spec.name, {**_about(spec), "received_value": value})


def too_big(spec: InputSpec, value: object) -> Reason:
    message = f"Value {value} bigger than max of {spec.config['max']}"
    return reason("value_bigger_than_max", message, spec.name, {**_about(spec), "received_value": value})


def not_in_list(spec: InputSpec, value: object, shown: str) -> Reason:
    """`shown` is how the offending values are written in the details."""
    options: Sequence[object] = spec.options or ()
    long = len(options) > _LONG_LIST
    offered = f"(list of length {len(options)})" if long else str(list(options))
    return reason(
        "value_not_in_list",
        "Value not in list",
        f"{spec.name}: {shown} not in {offered}",
        {
            "input_name": spec.name,
            "input_config": None if long else spec.declaration(),
            "received_value": value,
        },
    )


def custom_failed(name: str, verdict: object) -> Reason:
    """`verdict` is what the node's own validator returned: a text, or a bare False."""
    details = name if verdict is False else f"{name} - {verdict}"
    message = "Custom validation failed for node"
    return reason("custom_validation_failed", message, details, {"input_name": name})


def dependency_cycle(node_id: str, path: str, members: list[str]) -> Reason:
    extra_info = {"node_id": node_id, "cycle_nodes": members}
    return reason("dependency_cycle", "Dependency cycle detected", path, extra_info)


def _about(spec: InputSpec) -> dict[str, Any]:
    return {"input_name": spec.name, "input_config": spec.declaration()}
