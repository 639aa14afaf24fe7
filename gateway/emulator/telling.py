"""The events of one prompt, to whom ComfyUI sends them and in its order."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from gateway.emulator import frames
from gateway.emulator.progress import Progress, identity

if TYPE_CHECKING:
    from gateway.emulator.worker import Worker


class Teller:
    """Speaks to the owner of the prompt; what it says of the whole prompt is kept for the history."""

    def __init__(self, worker: Worker, prompt_id: str) -> None:
        self._worker = worker
        self._prompt_id = prompt_id
        self._progress = Progress(prompt_id)
        self.messages: list[tuple[str, dict[str, Any]]] = []

    def say(self, event: str, data: dict[str, Any], *, broadcast: bool = False) -> None:
        """A message of the record. A prompt without a client_id has no owner: then only a broadcast is heard."""
        data = {**data, "timestamp": int(time.time() * 1000)}
        self.messages.append((event, data))
        if self._worker.client_id is not None or broadcast:
            self._worker.hub.post(event, data, self._worker.client_id)

    def starts(self, node_id: str) -> None:
        self._report(self._progress.start(node_id))

    def executing(self, node_id: str) -> None:
        if self._worker.client_id is not None:
            self._worker.last_node_id = node_id
        self._own("executing", node_id, {})

    def executed(self, node_id: str, ui: dict[str, Any] | None) -> None:
        self._own("executed", node_id, {"output": ui})

    def finishes(self, node_id: str) -> None:
        self._report(self._progress.finish(node_id))

    def tick(self, node_id: str, value: int, total: int, jpeg: bytes | None) -> None:
        """A step of a node's progress bar; the preview before or after it, by what the client understands."""
        post, sid = self._worker.hub.post, self._worker.client_id
        self._report(self._progress.update(node_id, value, total))
        modern = self._worker.hub.wants_metadata(sid)
        if jpeg is not None and modern:
            post("preview", frames.preview_with_metadata(jpeg, identity(node_id, self._prompt_id)), sid)
        post("progress", {"value": value, "max": total, "prompt_id": self._prompt_id, "node": node_id}, sid)
        if jpeg is not None and not modern:
            post("preview", frames.preview(jpeg), sid)

    def _own(self, event: str, node_id: str, data: dict[str, Any]) -> None:
        if self._worker.client_id is not None:
            shown = {"node": node_id, "display_node": node_id, **data, "prompt_id": self._prompt_id}
            self._worker.hub.post(event, shown, self._worker.client_id)

    def _report(self, snapshot: dict[str, Any]) -> None:
        """Without an owner this goes to everybody."""
        self._worker.hub.post("progress_state", snapshot, self._worker.client_id)
