"""The farm's /object_info: every node class that some worker has, with the options of all workers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from gateway.domain.catalogue import Catalogue, NodeClass, read_node
from gateway.domain.inputs import InputSpec


def unite(catalogues: Sequence[Catalogue]) -> dict[str, NodeClass]:
    """All node classes, in the first catalogue's order and then the others'; a combo offers what any of them offers.

    A class that all workers describe alike costs nothing but the look at it, since they share one object.
    """
    united: dict[str, NodeClass] = {}
    variants: dict[str, dict[int, NodeClass]] = {}
    for catalogue in {id(one): one for one in catalogues}.values():
        for name, node in catalogue.nodes.items():
            first = united.setdefault(name, node)
            if first is not node:
                variants.setdefault(name, {})[id(node)] = node
    for name, others in variants.items():
        united[name] = _merged(united[name], list(others.values()))
    return united


def _merged(first: NodeClass, others: Sequence[NodeClass]) -> NodeClass:
    """Options of the first worker, then new ones of the others; all else as the first has it."""
    more: dict[tuple[str, str], list[Any]] = {}
    for spec in first.inputs.values():
        if spec.options is not None:
            options = _joined(spec, (other.inputs.get(spec.name) for other in others))
            if len(options) > len(spec.options):
                more[spec.need, spec.name] = options
    if not more:
        return first
    declared = {
        need: {name: _with(raw, more[need, name]) if (need, name) in more else raw for name, raw in group.items()}
        if isinstance(group, dict)
        else group
        for need, group in first.info["input"].items()
    }
    return read_node(first.name, {**first.info, "input": declared})


def _with(raw: list[Any], options: list[Any]) -> list[Any]:
    if isinstance(raw[0], list):
        return [options, *raw[1:]]
    return [raw[0], {**raw[1], "options": options}, *raw[2:]]


def _joined(spec: InputSpec, others: Iterable[InputSpec | None]) -> list[Any]:
    options: list[Any] = list(spec.options or ())
    seen = set(spec.choices)
    for other in others:
        if other is None or other.options is None:
            continue
        fresh = other.choices - seen
        if fresh:
            options.extend(dict.fromkeys(option for option in other.options if _is_one_of(option, fresh)))
            seen |= fresh
    return options


def _is_one_of(option: object, fresh: frozenset[Any]) -> bool:
    return not isinstance(option, list | dict) and option in fresh
