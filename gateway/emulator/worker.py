"""One emulated ComfyUI: its disk, its queue, its sockets, its GPU, and the thread that executes prompts."""

from __future__ import annotations

import copy
import threading
import time
from collections import deque
from datetime import datetime
from typing import Any

from gateway.domain.validation import Valid, validate
from gateway.emulator.execution import Execution, Memory
from gateway.emulator.folders import Folders
from gateway.emulator.hub import Hub, server_flags
from gateway.emulator.listing import Listing
from gateway.emulator.nodes import registry
from gateway.emulator.nodes.base import Stopped
from gateway.emulator.queue import Item, PromptQueue
from gateway.emulator.settings import EmulatorSettings
from gateway.emulator.vram import Vram

IDLE_SECONDS = 1000.0


class Worker:
    def __init__(self, settings: EmulatorSettings) -> None:
        self.settings = settings
        self.folders = Folders.make(settings.directory)
        self.hub = Hub(server_flags(settings), self.die)
        self.queue = PromptQueue(self._queue_changed)
        self.vram = Vram(settings.vram_gib)
        self.listing = Listing(settings, self.folders)
        self.nodes = registry(self.listing.object_info())
        self.interrupt = threading.Event()
        self.stopping = threading.Event()
        self.number = 0
        self.client_id: Any = None
        """Whom the running prompt belongs to; stays after it, as in ComfyUI."""
        self.last_node_id: str | None = None
        self.probe_model: str | None = None
        self.logs: deque[dict[str, str]] = deque(maxlen=300)
        self.log_readers: set[str] = set()
        self._thread = threading.Thread(target=self._execute, name=f"{settings.name}-prompts", daemon=True)

    def open(self) -> None:
        self.hub.open()
        self.log(f"Emulated ComfyUI {self.settings.comfyui}, {self.settings.name}")
        self._thread.start()

    async def close(self) -> None:
        self.stopping.set()
        self.queue.wake()
        await self.hub.close()
        self._thread.join(timeout=5)
        self.folders.close()

    def die(self, code: int) -> None:
        """The end of the process, as far as the settings let it."""
        self.stopping.set()
        self.settings.die(code)

    def log(self, text: str) -> None:
        entry = {"t": datetime.now().isoformat(), "m": text + "\n"}
        self.logs.append(entry)
        for reader in self.log_readers:
            self.hub.post("logs", {"entries": [entry], "size": None}, reader)

    def queue_info(self) -> dict[str, Any]:
        return {"exec_info": {"queue_remaining": self.queue.remaining()}}

    def welcome(self, sid: str) -> list[tuple[str, Any]]:
        """What a socket is told first; one that comes back in the middle of its prompt learns the node."""
        told: list[tuple[str, Any]] = [("status", {"status": self.queue_info(), "sid": sid})]
        if self.client_id == sid and self.last_node_id is not None:
            told.append(("executing", {"node": self.last_node_id}))
        return told

    def enqueue_from_node(self, prompt_id: str, graph: dict[str, Any], extra_data: dict[str, Any]) -> None:
        """A prompt that a node makes itself: numbered and validated like any other, dropped when it is not valid."""
        verdict = validate(graph, self.listing.nodes(), has_file=self.folders.has, generation=self.settings.generation)
        if isinstance(verdict, Valid):
            item: Item = (self.next_number(), prompt_id, verdict.graph, extra_data, list(verdict.outputs))
            if self.settings.is_new:
                extra_data["create_time"] = int(time.time() * 1000)
                item = (*item, {})
            self.queue.put(item)

    def next_number(self) -> int:
        self.number += 1
        return self.number - 1

    def _queue_changed(self) -> None:
        self.hub.post("status", {"status": self.queue_info()})

    def _execute(self) -> None:
        """The execution thread. What escapes a prompt ends it, and the prompt runs for ever: as in ComfyUI."""
        memory = Memory({}, {})
        while not self.stopping.is_set():
            taken = self.queue.take(IDLE_SECONDS)
            if taken is not None:
                try:
                    self._run(taken, memory)
                except Stopped:
                    return
                except (TypeError, KeyError, AttributeError) as error:
                    self.log(f"The execution thread ends: {error!r}")
                    return
            self._obey_flags(memory)

    def _run(self, taken: tuple[Item, int], memory: Memory) -> None:
        item, ticket = taken
        if self.settings.is_new:
            item = (*item[:3], {**item[3], **item[5]}, item[4])
        outcome = Execution(self, copy.deepcopy(item), memory).run()
        self.queue.done(ticket, outcome.result, outcome.status)
        if self.client_id is not None:
            self.hub.post("executing", {"node": None, "prompt_id": item[1]}, self.client_id)

    def _obey_flags(self, memory: Memory) -> None:
        flags = self.queue.take_flags()
        if flags.get("unload_models", flags.get("free_memory")):
            self.vram.clear()
        if flags.get("free_memory"):
            memory.clear()
