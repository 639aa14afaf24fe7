"""One prompt, run as ComfyUI runs it: its nodes in order, its events in order, its record for the history."""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.emulator import frames
from gateway.emulator.graph import Order, Signatures, link
from gateway.emulator.nodes.base import Context, Interrupted, Node, Stopped
from gateway.emulator.pictures import describe
from gateway.emulator.progress import Progress, identity
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


class Execution:
    """`cache` maps signatures to results and outlives the prompt; what this prompt does not contain is dropped."""

    def __init__(
        self, worker: Worker, item: tuple[Any, ...], cache: dict[str, Kept], instances: dict[str, Any]
    ) -> None:
        self._worker = worker
        _, self._prompt_id, self._graph, self._extra, self._targets = item[:5]
        self._cache = cache
        self._instances = instances
        self._messages: list[tuple[str, dict[str, Any]]] = []
        self._progress = Progress(self._prompt_id)
        self._executed: list[str] = []
        self._shown: dict[str, dict[str, Any]] = {}
        self._signatures = Signatures(self._graph, self._asks_id, self._changed)

    def run(self) -> Outcome:
        """Raises, and by that ends the execution thread, where ComfyUI's would (extra_data that is no object)."""
        self._worker.interrupt.clear()
        self._worker.client_id = self._extra.get("client_id")
        self._say("execution_start", {"prompt_id": self._prompt_id})
        kept = {node_id: self._signatures.of(node_id) for node_id in self._graph}
        self._forget({signature for signature in kept.values() if signature})
        cached = [node_id for node_id in self._graph if self._kept(node_id)]
        self._say("execution_cached", {"nodes": cached, "prompt_id": self._prompt_id})
        completed = self._run_nodes()
        if completed:
            self._say("execution_success", {"prompt_id": self._prompt_id})
        self._worker.last_node_id = None
        status = {"status_str": "success" if completed else "error", "completed": completed, "messages": self._messages}
        return Outcome(self._result(), status)

    def _run_nodes(self) -> bool:
        order = Order(
            self._graph, lambda node_id: self._node(node_id).output, lambda node_id: self._kept(node_id) is not None
        )
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
            self._tell("executed", {**_shown_as(node_id), "output": kept.ui, "prompt_id": self._prompt_id})
            self._report(self._progress.finish(node_id))
            return True
        self._report(self._progress.start(node_id))
        inputs = self._inputs(node_id)
        if self._worker.client_id is not None:
            self._worker.last_node_id = node_id
        self._tell("executing", {**_shown_as(node_id), "prompt_id": self._prompt_id})
        try:
            self._keep(node_id, self._call(node_id, inputs))
        except Interrupted:
            self._say("execution_interrupted", self._failure(node_id), broadcast=True)
            return False
        except Stopped:
            raise
        except Exception as error:  # noqa: BLE001 - any error of a node ends its prompt, not the worker
            self._say("execution_error", self._failure(node_id) | self._error(error, inputs))
            return False
        self._report(self._progress.finish(node_id))
        self._executed.append(node_id)
        return True

    def _call(self, node_id: str, inputs: dict[str, Any]) -> Kept:
        context = Context(self._worker, self, node_id, self._graph, self._extra)
        context.check_interrupt()
        instance = self._instances.setdefault(f"{node_id} {self._graph[node_id]['class_type']}", {})
        result = self._node(node_id).run(context, instance, inputs)
        return Kept(result.outputs, result.ui)

    def _keep(self, node_id: str, kept: Kept) -> None:
        if kept.ui is not None:
            self._show(node_id, kept.ui)
            self._tell("executed", {**_shown_as(node_id), "output": kept.ui, "prompt_id": self._prompt_id})
        signature = self._signatures.of(node_id)
        self._cache[signature or self._once(node_id)] = kept

    def tick(self, node_id: str, value: int, total: int, jpeg: bytes | None) -> None:
        """A step of a node's progress bar, in the order of frames that the recordings show."""
        sid = self._worker.client_id
        self._report(self._progress.update(node_id, value, total))
        modern = self._worker.hub.wants_metadata(sid)
        if jpeg is not None and modern:
            told = frames.preview_with_metadata(jpeg, identity(node_id, self._prompt_id))
            self._worker.hub.post("preview", told, sid)
        step = {"value": value, "max": total, "prompt_id": self._prompt_id, "node": node_id}
        self._worker.hub.post("progress", step, sid)
        if jpeg is not None and not modern:
            self._worker.hub.post("preview", frames.preview(jpeg), sid)

    def _inputs(self, node_id: str) -> dict[str, Any]:
        """The node's declared inputs with links followed, and what it asks for in hidden ones."""
        node, known = self._graph[node_id], self._node(node_id)
        inputs: dict[str, Any] = {}
        for name, value in node["inputs"].items():
            found = link(value)
            if found is not None:
                kept = self._kept(found[0])
                inputs[name] = kept.outputs[found[1]] if kept is not None else None
            elif name in known.declared:
                inputs[name] = value
        hidden = {"PROMPT": self._graph, "UNIQUE_ID": node_id, "EXTRA_PNGINFO": self._extra.get("extra_pnginfo")}
        for name, wanted in known.hidden.items():
            if wanted in hidden:
                inputs[name] = hidden[wanted]
        return inputs

    def _failure(self, node_id: str) -> dict[str, Any]:
        node_type = self._graph[node_id]["class_type"]
        return {
            "prompt_id": self._prompt_id,
            "node_id": node_id,
            "node_type": node_type,
            "executed": list(self._executed),
        }

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
        shown = self._shown
        if not self._worker.settings.is_new:
            shown = {
                node_id: kept.ui for node_id in self._graph if (kept := self._kept(node_id)) and kept.ui is not None
            }
        meta = {key: {**_meta(key)} for key in shown}
        return {"outputs": shown, "meta": meta}

    def _show(self, node_id: str, ui: dict[str, Any] | None) -> None:
        if ui is not None:
            self._shown[node_id] = ui

    def _say(self, event: str, data: dict[str, Any], *, broadcast: bool = False) -> None:
        data = {**data, "timestamp": int(time.time() * 1000)}
        self._messages.append((event, data))
        if self._worker.client_id is not None or broadcast:
            self._worker.hub.post(event, data, self._worker.client_id)

    def _tell(self, event: str, data: dict[str, Any]) -> None:
        if self._worker.client_id is not None:
            self._worker.hub.post(event, data, self._worker.client_id)

    def _report(self, snapshot: dict[str, Any]) -> None:
        self._worker.hub.post("progress_state", snapshot, self._worker.client_id)

    def _node(self, node_id: str) -> Node:
        return self._worker.nodes[self._graph[node_id]["class_type"]]

    def _asks_id(self, node_id: str) -> bool:
        return "UNIQUE_ID" in self._node(node_id).hidden.values()

    def _changed(self, node_id: str) -> str | None:
        return self._node(node_id).changed(self._worker, self._graph[node_id]["inputs"])

    def _kept(self, node_id: str) -> Kept | None:
        return self._cache.get(self._signatures.of(node_id) or self._once(node_id))

    def _once(self, node_id: str) -> str:
        """The key of a result that only this very prompt may use."""
        return f"once {id(self)} {node_id}"

    def _forget(self, signatures: set[str]) -> None:
        for signature in self._cache.keys() - signatures:
            del self._cache[signature]
        for instance in self._instances.keys() - {f"{key} {node['class_type']}" for key, node in self._graph.items()}:
            del self._instances[instance]


def _shown_as(node_id: str) -> dict[str, str]:
    return {"node": node_id, "display_node": node_id}


def _meta(node_id: str) -> dict[str, Any]:
    return {"node_id": node_id, "display_node": node_id, "parent_node": None, "real_node_id": node_id}
