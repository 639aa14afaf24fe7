"""In which order ComfyUI runs the nodes of a prompt, and when a result can be used again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Graph = Mapping[str, Mapping[str, Any]]


def link(value: Any) -> tuple[str, int] | None:
    """`[node id, slot]`, which connects an input to an output; None for any other value."""
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int | float):
        return value[0], int(value[1])
    return None


def sources(graph: Graph, node_id: str) -> list[str]:
    return [found[0] for value in graph[node_id]["inputs"].values() if (found := link(value))]


class Order:
    """Dissolves the graph from its inputs on; outputs first, then what an output waits for, then as they came."""

    def __init__(self, graph: Graph, is_output: Callable[[str], bool], is_cached: Callable[[str], bool]) -> None:
        self._graph = graph
        self._is_output = is_output
        self._is_cached = is_cached
        self._waits_for: dict[str, set[str]] = {}

    def add(self, node_id: str) -> None:
        """With all that it needs and that is not cached; the output itself is taken even when it is cached."""
        stack = [node_id]
        while stack:
            current = stack.pop()
            if current in self._waits_for:
                continue
            needed = [source for source in sources(self._graph, current) if not self._is_cached(source)]
            self._waits_for[current] = set(needed)
            stack.extend(needed)

    def pick(self) -> str | None:
        """The next node to run; None when nothing is left, or nothing can run because of a cycle."""
        ready = [node_id for node_id, needs in self._waits_for.items() if not needs]
        for distance in (self._is_output, self._feeds_output, self._feeds_feeder):
            for node_id in ready:
                if distance(node_id):
                    return node_id
        return ready[0] if ready else None

    def done(self, node_id: str) -> None:
        del self._waits_for[node_id]
        for needs in self._waits_for.values():
            needs.discard(node_id)

    def _followers(self, node_id: str) -> Iterable[str]:
        return (other for other, needs in self._waits_for.items() if node_id in needs)

    def _feeds_output(self, node_id: str) -> bool:
        return any(self._is_output(other) for other in self._followers(node_id))

    def _feeds_feeder(self, node_id: str) -> bool:
        return any(self._feeds_output(other) for other in self._followers(node_id))


class Signatures:
    """What decides whether a node's result is still good: its class, its literals and all upstream, not its id."""

    def __init__(self, graph: Graph, asks_id: Callable[[str], bool], changed: Callable[[str], str | None]) -> None:
        self._graph = graph
        self._asks_id = asks_id
        self._changed = changed
        self._known: dict[str, str | None] = {}

    def of(self, node_id: str) -> str | None:
        """None for what is never reused: always new, upstream of it something is, or it hangs on a missing node."""
        if node_id not in self._known:
            self._known[node_id] = None  # a cycle finds this
            self._known[node_id] = self._sign(node_id)
        return self._known[node_id]

    def _sign(self, node_id: str) -> str | None:
        node = self._graph.get(node_id)
        change = self._changed(node_id) if node is not None else None
        if node is None or change is None:
            return None
        inputs: list[Any] = []
        for name, value in sorted(node["inputs"].items()):
            found = link(value)
            if found is None:
                inputs.append([name, value])
                continue
            upstream = self.of(found[0])
            if upstream is None:
                return None
            inputs.append([name, {"of": upstream, "slot": found[1]}])
        identity = node_id if self._asks_id(node_id) else ""
        return json.dumps([node["class_type"], change, identity, inputs])
