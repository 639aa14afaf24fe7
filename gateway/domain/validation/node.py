"""One node's validation, as a generator that asks for the verdict on each node it depends on.

Whoever drives it needs no recursion, so the longest chain does not overflow the stack.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.domain.catalogue import NodeClass
from gateway.domain.dynamic import inputs_of
from gateway.domain.inputs import InputSpec
from gateway.domain.validation import reasons, values
from gateway.domain.validation.core_nodes import listed, validator_of
from gateway.domain.validation.custom import HasFile, missing_files
from gateway.domain.validation.types import fits
from gateway.domain.validation.verdict import Generation, NodeVerdict, Reason

Outcome = NodeVerdict | Exception
Checking = Generator[str, Outcome, NodeVerdict]
"""Yields the id of a node upstream, is sent its verdict or what its check raised, returns its own verdict."""
Record = Callable[[str, NodeVerdict], None]


@dataclass(frozen=True, slots=True)
class Rules:
    nodes: Mapping[str, NodeClass]
    has_file: HasFile
    generation: Generation


def check(graph: dict[str, Any], node_id: str, rules: Rules, record: Record) -> Checking:
    """Converts the node's values in place. Raises what ComfyUI's own code raises on a malformed node or link."""
    inputs = graph[node_id]["inputs"]
    node = rules.nodes[graph[node_id]["class_type"]]
    checked = _NodeCheck(graph, inputs, node, rules, record)
    specs = inputs_of(node, inputs)
    for spec in specs.values():
        if spec.need == "hidden":
            continue
        if spec.name not in inputs:
            if spec.need == "required":
                checked.reasons.append(reasons.input_missing(spec))
        elif isinstance(inputs[spec.name], list):
            yield from checked.link(spec, inputs[spec.name])
        else:
            checked.value(spec)
    checked.files(specs)
    return NodeVerdict(checked.upstream_valid and not checked.reasons, checked.reasons)


class _NodeCheck:
    """One node while it is looked at, and what was found so far."""

    def __init__(
        self, graph: dict[str, Any], inputs: dict[str, Any], node: NodeClass, rules: Rules, record: Record
    ) -> None:
        self.reasons: list[Reason] = []
        self.upstream_valid = True
        self._graph, self._inputs, self._rules, self._record = graph, inputs, rules, record
        self._listed = listed(node.name, rules.generation)
        self._validator = validator_of(node.name, rules.generation)

    def link(self, spec: InputSpec, link: list[Any]) -> Generator[str, Outcome, None]:
        if len(link) != 2:
            self.reasons.append(reasons.bad_link(spec, link))
            return
        source, slot = link
        received = self._rules.nodes[self._graph[source]["class_type"]].outputs[slot]
        judges_types = self._validator is not None and self._validator.link_types
        if not judges_types and not fits(received, spec.declared, self._rules.generation):
            self.reasons.append(reasons.type_mismatch(spec, received, link))
            return
        outcome = yield source
        if isinstance(outcome, Exception):
            self._record(source, NodeVerdict(False, [reasons.inner_exception(spec, outcome, link)]))
            self.upstream_valid = False
        elif not outcome.valid:
            self.upstream_valid = False

    def value(self, spec: InputSpec) -> None:
        failed = values.convert(spec, self._inputs)
        if failed is None and not (self._validator is not None and self._validator.covers(spec.name)):
            failed = self._limits(spec, self._inputs[spec.name])
        if failed is not None:
            self.reasons.append(failed)

    def _limits(self, spec: InputSpec, value: Any) -> Reason | None:
        failed = values.out_of_range(spec, value)
        looked_up_as_file = spec.upload and isinstance(value, str) and not self._listed
        if failed is not None or looked_up_as_file:
            return failed
        return values.not_offered(spec, value, self._rules.generation)

    def files(self, specs: Mapping[str, InputSpec]) -> None:
        if self._validator is not None:
            self.reasons.extend(self._validator.judge(self._inputs, specs, self._rules.has_file))
        elif not self._listed:
            self.reasons.extend(missing_files(self._inputs, specs, self._rules.has_file))
