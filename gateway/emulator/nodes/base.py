"""What a node of the emulator is, and what it may do to the worker while it runs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from PIL import Image

from gateway.emulator import frames

if TYPE_CHECKING:
    from gateway.emulator.telling import Teller
    from gateway.emulator.worker import Worker

TICK = 0.05


class Interrupted(Exception):
    """Somebody asked for the running prompt to stop."""


class Stopped(Exception):
    """The worker itself is going away."""


@dataclass(frozen=True, slots=True)
class Result:
    outputs: tuple[Any, ...] = ()
    ui: dict[str, Any] | None = None


class Context:
    """A running node's view of its worker."""

    def __init__(
        self, worker: Worker, teller: Teller, node_id: str, graph: dict[str, Any], extra: dict[str, Any]
    ) -> None:
        self.worker = worker
        self.node_id = node_id
        self.graph = graph
        self.extra = extra
        self._teller = teller

    def check_interrupt(self) -> None:
        if self.worker.interrupt.is_set():
            self.worker.interrupt.clear()
            raise Interrupted

    def wait(self, seconds: float) -> None:
        """Emulated work that nothing but the end of the worker cuts short."""
        end = time.monotonic() + seconds / self.worker.settings.speed
        while (left := end - time.monotonic()) > 0:
            if self.worker.stopping.wait(min(left, TICK)):
                raise Stopped

    def step(self, value: int, total: int, picture: Image.Image | None = None) -> None:
        """One tick of the progress bar; an interrupt is seen here, before the tick is told."""
        self.check_interrupt()
        self._teller.tick(self.node_id, value, total, None if picture is None else frames.encode_jpeg(picture))

    def use_model(self, model: str, folder: str, seconds: float | None = None) -> None:
        """Brings a model into VRAM, which takes its time unless it is there."""
        if self.worker.vram.use(model, folder):
            self.wait(self.worker.settings.load_seconds if seconds is None else seconds)


Run = Callable[[Context, dict[str, Any], dict[str, Any]], Result]
"""Given the context, the instance's own lasting facts, and the inputs by name."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    run: Run
    changed: Callable[[Worker, Mapping[str, Any]], str | None] = lambda _worker, _inputs: ""
    """What beside the inputs makes the result another (a file's content); None when it always is."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node class as the executor sees it: its behaviour and what object_info declares of it."""

    run: Run
    changed: Callable[[Worker, Mapping[str, Any]], str | None]
    output: bool
    declared: frozenset[str] = frozenset()
    hidden: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, behaviour: Behaviour, info: Mapping[str, Any]) -> Node:
        needs = info["input"]
        hidden = {name: kind if isinstance(kind, str) else kind[0] for name, kind in needs.get("hidden", {}).items()}
        declared = frozenset({*needs.get("required", {}), *needs.get("optional", {})})
        return cls(behaviour.run, behaviour.changed, bool(info["output_node"]), declared, hidden)


def as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
