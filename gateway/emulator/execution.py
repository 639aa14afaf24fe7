"""One prompt, run as ComfyUI runs it: its nodes in order, its results in the cache, its record for the history."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.emulator.graph import Order, Signatures, link
from gateway.emulator.nodes.base import Context, Interrupted, Node, Stopped
from gateway.emulator.pictures import describe
from gateway.emulator.telling import Teller
from gateway.emulator.vram import OutOfMemory

if TYPE_CHECKING:
    from gateway.emulator.worker import Worker

OOM_TIPS = (
    "This error means you ran out of memory on your GPU.\n\n"
    "TIPS: If the workflow worked before you might have accidentally set the batch_size to a large number."
)


@dataclass(frozen=True, slots=True)
class Kept:
    """A node's result in the cache."""

    outputs: tuple[Any, ...]
    ui: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Outcome:
    result: dict[str, Any]
    status: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Memory:
    """What outlives a prompt, of the nodes that the latest one contains: ComfyUI's classic cache."""

    results: dict[str, Kept]
    """By signature."""
    instances: dict[str, dict[str, Any]]
    """Lasting facts of a node, by id and class."""

    def clear(self) -> None:
        self.results.clear()
        self.instances.clear()


class Execution:
    def __init__(self, worker: Worker, item: tuple[Any, ...], memory: Memory) -> None:
        self._worker = worker
        _, self._prompt_id, self._graph, self._extra, self._targets = item[:5]
        self._memory = memory
        self._teller = Teller(worker, self._prompt_id)
        self._executed: list[str] = []
        self._shown: dict[str, dict[str, Any]] = {}
        self._signatures = Signatures(self._graph, self._asks_id, self._changed)

    def run(self) -> Outcome:
        """Raises, and by that ends the execution thread, where ComfyUI's ends: at an extra_data of null, say."""
        self._worker.interrupt.clear()
        self._worker.client_id = self._extra["client_id"] if "client_id" in self._extra else None  # noqa: SIM401
        self._teller.say("execution_start", {"prompt_id": self._prompt_id})
        self._forget()
        cached = [node_id for node_id in self._graph if self._kept(node_id)]
        self._teller.say("execution_cached", {"nodes": cached, "prompt_id": self._prompt_id})
        completed = self._run_nodes()
        if completed:
            self._teller.say("execution_success", {"prompt_id": self._prompt_id})
        self._worker.last_node_id = None
        status = "success" if completed else "error"
        told = {"status_str": status, "completed": completed, "messages": self._teller.messages}
        return Outcome(self._result(), told)

    def _run_nodes(self) -> bool:
        order = Order(self._graph, lambda key: self._node(key).output, lambda key: self._kept(key) is not None)
        for target in self._targets:
            order.add(target)
        while (node_id := order.pick()) is not None:
            if not self._run_node(node_id):
                return False
            order.done(node_id)
        return True

    def _run_node(self, node_id: str) -> bool:
        kept = self._kept(node_id)
        if kept is not None:
            self._show(node_id, kept.ui)
            self._teller.executed(node_id, kept.ui)
            self._teller.finishes(node_id)
            return True
        inputs: dict[str, Any] = {}
        try:
            self._teller.starts(node_id)
            inputs = self._inputs(node_id)
            self._teller.executing(node_id)
            self._keep(node_id, self._call(node_id, inputs))
        except Interrupted:
            self._teller.say("execution_interrupted", self._failure(node_id), broadcast=True)
            return False
        except Stopped:
            raise
        except Exception as error:  # noqa: BLE001 - any error of a node ends its prompt, not the worker
            self._teller.say("execution_error", self._failure(node_id) | self._error(error, inputs))
            return False
        self._teller.finishes(node_id)
        self._executed.append(node_id)
        return True

    def _call(self, node_id: str, inputs: dict[str, Any]) -> Kept:
        context = Context(self._worker, self._teller, node_id, self._graph, self._extra)
        context.check_interrupt()
        instance = self._memory.instances.setdefault(_instance(node_id, self._graph[node_id]), {})
        result = self._node(node_id).run(context, instance, inputs)
        return Kept(result.outputs, result.ui)

    def _keep(self, node_id: str, kept: Kept) -> None:
        if kept.ui is not None:
            self._show(node_id, kept.ui)
            self._teller.executed(node_id, kept.ui)
        self._memory.results[self._key(node_id)] = kept

    def _inputs(self, node_id: str) -> dict[str, Any]:
        """The node's declared inputs with links followed, and what it asks for in hidden ones."""
        known = self._node(node_id)
        inputs: dict[str, Any] = {}
        for name, value in self._graph[node_id]["inputs"].items():
            found = link(value)
            if found is not None:
                kept = self._kept(found[0])
                inputs[name] = kept.outputs[found[1]] if kept is not None else None
            elif name in known.declared:
                inputs[name] = value
        for name, wanted in known.hidden.items():
            if wanted == "PROMPT":
                inputs[name] = self._graph
            elif wanted == "UNIQUE_ID":
                inputs[name] = node_id
            elif wanted == "EXTRA_PNGINFO":
                inputs[name] = self._extra.get("extra_pnginfo")
        return inputs

    def _failure(self, node_id: str) -> dict[str, Any]:
        node_type = self._graph[node_id]["class_type"]
        told = {"prompt_id": self._prompt_id, "node_id": node_id, "node_type": node_type}
        return {**told, "executed": list(self._executed)}

    def _error(self, error: Exception, inputs: dict[str, Any]) -> dict[str, Any]:
        out_of_memory = isinstance(error, OutOfMemory)
        if out_of_memory:
            self._worker.vram.clear()
        return {
            "exception_message": f"{error}\n{OOM_TIPS if out_of_memory else ''}",
            "exception_type": "torch.OutOfMemoryError" if out_of_memory else type(error).__name__,
            "traceback": traceback.format_tb(error.__traceback__),
            "current_inputs": {name: [describe(value)] for name, value in inputs.items()},
            "current_outputs": list(self._graph),
        }

    def _result(self) -> dict[str, Any]:
        """0.3.64 shows what is cached of this prompt, 0.38.1 what this run executed or replayed."""
        shown: Mapping[str, Any] = self._shown
        if not self._worker.settings.is_new:
            kept = {node_id: self._kept(node_id) for node_id in self._graph}
            shown = {node_id: found.ui for node_id, found in kept.items() if found and found.ui is not None}
        return {"outputs": shown, "meta": {node_id: _meta(node_id) for node_id in shown}}

    def _show(self, node_id: str, ui: dict[str, Any] | None) -> None:
        if ui is not None:
            self._shown[node_id] = ui

    def _node(self, node_id: str) -> Node:
        return self._worker.nodes[self._graph[node_id]["class_type"]]

    def _asks_id(self, node_id: str) -> bool:
        return "UNIQUE_ID" in self._node(node_id).hidden.values()

    def _changed(self, node_id: str) -> str | None:
        return self._node(node_id).changed(self._worker, self._graph[node_id]["inputs"])

    def _key(self, node_id: str) -> str:
        """A result without a signature is only for this very prompt."""
        return self._signatures.of(node_id) or f"once {id(self)} {node_id}"

    def _kept(self, node_id: str) -> Kept | None:
        return self._memory.results.get(self._key(node_id))

    def _forget(self) -> None:
        signatures = {self._signatures.of(node_id) for node_id in self._graph}
        for signature in self._memory.results.keys() - signatures:
            del self._memory.results[signature]
        instances = {_instance(node_id, node) for node_id, node in self._graph.items()}
        for instance in self._memory.instances.keys() - instances:
            del self._memory.instances[instance]


def _instance(node_id: str, node: Mapping[str, Any]) -> str:
    return f"{node_id} {node['class_type']}"


def _meta(node_id: str) -> dict[str, Any]:
    return {"node_id": node_id, "display_node": node_id, "parent_node": None, "real_node_id": node_id}
