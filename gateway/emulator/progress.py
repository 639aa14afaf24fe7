"""The `progress_state` snapshots: how far each node of the running prompt is."""

from __future__ import annotations

from typing import Any


class Progress:
    def __init__(self, prompt_id: str) -> None:
        self._prompt_id = prompt_id
        self._nodes: dict[str, dict[str, Any]] = {}

    def start(self, node_id: str) -> dict[str, Any]:
        return self._set(node_id, 0.0, 1.0, "running")

    def update(self, node_id: str, value: int, total: int) -> dict[str, Any]:
        return self._set(node_id, value, total, "running")

    def finish(self, node_id: str) -> dict[str, Any]:
        """A node that never started ends as 1 of 1, in whole numbers, as in the recording of a cached prompt."""
        total = self._nodes[node_id]["max"] if node_id in self._nodes else 1
        return self._set(node_id, total, total, "finished")

    def _set(self, node_id: str, value: float, total: float, state: str) -> dict[str, Any]:
        self._nodes[node_id] = {"value": value, "max": total, "state": state, **identity(node_id, self._prompt_id)}
        return {"prompt_id": self._prompt_id, "nodes": {key: dict(node) for key, node in self._nodes.items()}}


def identity(node_id: str, prompt_id: str) -> dict[str, Any]:
    return {
        "node_id": node_id,
        "prompt_id": prompt_id,
        "display_node_id": node_id,
        "parent_node_id": None,
        "real_node_id": node_id,
    }
