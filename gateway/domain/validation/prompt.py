"""The verdict on a whole prompt (validate_prompt in ComfyUI's execution.py; recording invalid.json)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from gateway.domain.catalogue import NodeClass
from gateway.domain.validation.node import Rules
from gateway.domain.validation.reasons import reason
from gateway.domain.validation.verdict import Generation, Invalid, Reason, Valid
from gateway.domain.validation.walk import Walk

_MOST_ENTRIES = 200_000
_MAY_BE_STALE = frozenset({"value_not_in_list", "custom_validation_failed"})
_MAY_BE_REPLACED = frozenset({"value_smaller_than_min", "value_bigger_than_max", "return_type_mismatch"})


def validate(
    graph: Mapping[str, Any],
    nodes: Mapping[str, NodeClass],
    *,
    targets: Collection[str] | None = None,
    has_file: Callable[[str], bool] | None = None,
    generation: Generation = Generation.OLD,
) -> Valid | Invalid:
    """Judges `graph` as a worker with `nodes` does: class names of all nodes, all else only of what outputs need.

    `targets` are the output nodes that are wanted, None for all. `has_file` is asked with names as the prompt writes
    them (`x.png [output]`); without it, every file is taken to be there. A traceback is always an empty list.
    """
    refused = _unknown_class(graph, nodes, generation)
    if refused is not None:
        return Invalid(refused, {})
    outputs = [
        node_id
        for node_id, node in graph.items()
        if nodes[node["class_type"]].output_node and (targets is None or node_id in targets)
    ]
    if not outputs:
        return Invalid(reason("prompt_no_outputs", "Prompt has no outputs", ""), {})
    converted = {node_id: _copied(node) for node_id, node in graph.items()}
    walk = Walk(converted, Rules(nodes, has_file or _any_file, generation))
    return _sum_up(converted, outputs, walk, nodes)


def _any_file(_name: str) -> bool:
    return True


def _copied(node: Mapping[str, Any]) -> dict[str, Any]:
    inputs = node.get("inputs")
    return {**node, "inputs": dict(inputs)} if isinstance(inputs, dict) else dict(node)


def _unknown_class(graph: Mapping[str, Any], nodes: Mapping[str, NodeClass], generation: Generation) -> Reason | None:
    for node_id, node in graph.items():
        named = isinstance(node, dict) and "class_type" in node
        if not named or node["class_type"] not in nodes:
            describe = _old_refusal if generation is Generation.OLD else _new_refusal
            return describe(node_id, node if isinstance(node, dict) else {})
    return None


def _old_refusal(node_id: str, node: Mapping[str, Any]) -> Reason:
    if "class_type" in node:
        message = f"Cannot execute because node {node['class_type']} does not exist."
    else:
        message = "Cannot execute because a node is missing the class_type property."
    return reason("invalid_prompt", message, f"Node ID '#{node_id}'")


def _new_refusal(node_id: str, node: Mapping[str, Any]) -> Reason:
    meta = node.get("_meta")
    class_type = node.get("class_type")
    title = meta.get("title", class_type) if isinstance(meta, dict) else class_type
    if "class_type" in node:
        message = f"Node '{title}' not found. The custom node may not be installed."
    else:
        shown = title or f"ID #{node_id}"
        message = f"Node '{shown}' has no class_type. The workflow may be corrupted or a custom node is missing."
    extra_info = {"node_id": node_id, "class_type": class_type, "node_title": title}
    return reason("missing_node_type", message, f"Node ID '#{node_id}'", extra_info)


def _sum_up(graph: dict[str, Any], outputs: list[str], walk: Walk, nodes: Mapping[str, NodeClass]) -> Valid | Invalid:
    good: list[str] = []
    details: list[str] = []
    entries = 0
    node_errors: dict[str, Any] = {}
    for output in outputs:
        verdict = walk.judge_output(output)
        if verdict.valid:
            good.append(output)
            continue
        details += [f"{one['message']}: {one['details']}" for one in verdict.reasons]
        entries += _blame(node_errors, walk, output, graph, only_own=entries > _MOST_ENTRIES)
    doubtful = any(_is_doubtful(blame, nodes) for blame in node_errors.values())
    if good:
        return Valid(graph, tuple(good), node_errors, doubtful)
    error = reason("prompt_outputs_failed_validation", "Prompt outputs failed validation", "\n".join(details))
    return Invalid(error, node_errors, doubtful)


def _blame(node_errors: dict[str, Any], walk: Walk, output: str, graph: Mapping[str, Any], *, only_own: bool) -> int:
    """Counts the failed output with every node that has reasons so far, as ComfyUI does, related or not.

    That grows with the square of the outputs, so at some size (`only_own`) only the output itself is looked at.
    """
    own = [output] if output in walk.blamed else []
    blamed = own if only_own else list(walk.blamed)
    for node_id in blamed:
        reasons = walk.blamed[node_id]
        error = {"errors": reasons, "dependent_outputs": [], "class_type": graph[node_id]["class_type"]}
        node_errors.setdefault(node_id, error)["dependent_outputs"].append(output)
    return len(blamed)


def _is_doubtful(blame: Mapping[str, Any], nodes: Mapping[str, NodeClass]) -> bool:
    core = nodes[blame["class_type"]].core
    kinds = {one["type"] for one in blame["errors"]}
    return not kinds.isdisjoint(_MAY_BE_STALE) or (not core and not kinds.isdisjoint(_MAY_BE_REPLACED))
