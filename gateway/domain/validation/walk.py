"""Validates a node with all that it depends on, each node once, without recursion."""

from __future__ import annotations

from typing import Any

from gateway.domain.validation import reasons
from gateway.domain.validation.node import Checking, Outcome, Rules, check
from gateway.domain.validation.verdict import Generation, NodeVerdict, Reason

_LONGEST_CYCLE = 100

# What ComfyUI's unguarded look-ups, comparisons and calls raise on malformed graphs.
_GRAPH_FAULTS = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)


class Walk:
    """The verdicts on one graph's nodes; the graph is the walk's own, and its values are converted in place."""

    def __init__(self, graph: dict[str, Any], rules: Rules) -> None:
        self.blamed: dict[str, list[Reason]] = {}
        """Reasons of each node that has some of its own, so far."""
        self._verdicts: dict[str, NodeVerdict] = {}
        self._graph = graph
        self._rules = rules
        self._path: dict[str, Checking] = {}

    def judge_output(self, node_id: str) -> NodeVerdict:
        outcome = self._drive(node_id)
        if isinstance(outcome, Exception):
            outcome = NodeVerdict(False, [reasons.output_exception(outcome)])
            self._record(node_id, outcome)
        return outcome

    def _drive(self, root: str) -> Outcome:
        outcome = self._enter(root)
        while self._path:
            node_id, checking = next(reversed(self._path.items()))
            try:
                wanted = next(checking) if outcome is None else checking.send(outcome)
            except StopIteration as done:
                del self._path[node_id]
                outcome = self._settle(node_id, done.value)
            except _GRAPH_FAULTS as error:
                del self._path[node_id]
                outcome = error
            else:
                outcome = self._enter(wanted)
        if outcome is None:
            raise AssertionError("a walk ends with a verdict")
        return outcome

    def _enter(self, node_id: str) -> Outcome | None:
        """The verdict if there is one; else begins the check, which is None."""
        if node_id in self._verdicts:
            return self._verdicts[node_id]
        if node_id in self._path:
            return self._cycle(node_id)
        self._path[node_id] = check(self._graph, node_id, self._rules, self._record)
        return None

    def _cycle(self, node_id: str) -> NodeVerdict:
        closed = NodeVerdict(False, [])
        if self._rules.generation is Generation.OLD:
            # It recurses to Python's limit, and each frame on its way back removes the reason that the last one left.
            return closed
        path = list(self._path)
        members = path[path.index(node_id) :]
        named = members[:_LONGEST_CYCLE]
        shown = " -> ".join(f"{one} ({self._graph[one]['class_type']})" for one in [*named, node_id])
        for one in members:
            self._record(one, closed)
        for one in named:
            self._record(one, NodeVerdict(False, [reasons.dependency_cycle(one, shown, named)]))
        return self._verdicts[node_id]

    def _settle(self, node_id: str, verdict: NodeVerdict) -> NodeVerdict:
        cycle = self._verdicts.get(node_id)
        if cycle is not None and self._rules.generation is Generation.NEW:
            more = [one for one in verdict.reasons if one not in cycle.reasons]
            verdict = NodeVerdict(cycle.valid and verdict.valid, cycle.reasons + more)
        self._record(node_id, verdict)
        return verdict

    def _record(self, node_id: str, verdict: NodeVerdict) -> None:
        self._verdicts[node_id] = verdict
        if verdict.reasons:
            self.blamed[node_id] = verdict.reasons
        else:
            self.blamed.pop(node_id, None)
