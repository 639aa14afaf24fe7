"""Inputs that exist because of what a prompt gives to others (newer ComfyUI: COMFY_AUTOGROW_V3 and its kin).

A dynamic combo brings the inputs of the option that is chosen, an autogrow input as many as its template allows,
a dynamic slot its inputs once it is connected; their names are dotted, `parent.child`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.domain.catalogue import NodeClass
from gateway.domain.inputs import (
    AUTOGROW,
    DYNAMIC_COMBO,
    DYNAMIC_SLOT,
    InputSpec,
    Need,
    read_input,
    read_inputs,
)


def inputs_of(node: NodeClass, given: Mapping[str, Any]) -> Mapping[str, InputSpec]:
    """The inputs that `node` has when a prompt gives it `given`; hidden ones are among them."""
    if not node.dynamic:
        return node.inputs
    return {spec.name: spec for spec in _expand(node.name, node.inputs, given, "")}


def _expand(
    node_class: str, specs: Mapping[str, InputSpec], given: Mapping[str, Any], prefix: str
) -> Iterator[InputSpec]:
    for spec in specs.values():
        name = prefix + spec.name
        if not spec.dynamic:
            yield _renamed(node_class, spec, name) if prefix else spec
        elif spec.type == AUTOGROW:
            yield from _grown(node_class, spec, name)
        elif name in given:
            yield from _expand(node_class, _brought(node_class, spec, given[name]), given, name + ".")
            if spec.type == DYNAMIC_SLOT or _option(spec, given[name]) is not None:
                yield _renamed(node_class, spec, name)


def _renamed(node_class: str, spec: InputSpec, name: str) -> InputSpec:
    return read_input(node_class, name, spec.need, [spec.declared, dict(spec.config)])


def _brought(node_class: str, spec: InputSpec, value: object) -> dict[str, InputSpec]:
    if spec.type == DYNAMIC_COMBO:
        option = _option(spec, value)
        return read_inputs(node_class, option.get("inputs")) if option is not None else {}
    return read_inputs(node_class, spec.config.get("inputs"))


def _option(spec: InputSpec, value: object) -> Mapping[str, Any] | None:
    options = spec.config.get("options")
    for option in options if isinstance(options, list) else ():
        if isinstance(option, dict) and option.get("key") == value:
            return option
    return None


def _grown(node_class: str, spec: InputSpec, prefix: str) -> Iterator[InputSpec]:
    template = spec.config.get("template")
    if not isinstance(template, dict):
        return
    model = next(iter(read_inputs(node_class, template.get("input")).values()), None)
    if model is None:
        return
    least = _count(template.get("min"))
    for index, name in enumerate(_names(template)):
        need: Need = "required" if index < least and model.need == "required" else "optional"
        yield read_input(node_class, f"{prefix}.{name}", need, [model.declared, dict(model.config)])


def _names(template: Mapping[str, Any]) -> list[str]:
    names = template.get("names")
    if isinstance(names, list):
        return [str(name) for name in names]
    return [f"{template.get('prefix', '')}{index}" for index in range(_count(template.get("max")))]


def _count(value: object) -> int:
    """ComfyUI grows no input beyond 100."""
    return min(value, 100) if isinstance(value, int) else 0
