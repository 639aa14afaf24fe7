"""What waits, what runs, and what has run: ComfyUI's queue with its order, its heap and its history."""

from __future__ import annotations

import copy
import heapq
import itertools
import threading
from collections.abc import Callable
from typing import Any

Item = tuple[Any, ...]
"""(number, prompt_id, prompt, extra_data, outputs_to_execute), and 0.38.1's sixth: the secrets."""

HISTORY_MAX = 10_000
SECRETS = ("auth_token_comfy_org", "api_key_comfy_org")


class PromptQueue:
    """Thread-safe. `changed` is called, under the lock, wherever ComfyUI tells its sockets a new `status`."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._lock = threading.RLock()
        self._not_empty = threading.Condition(self._lock)
        self._pending: list[Item] = []
        self._running: dict[int, Item] = {}
        self._history: dict[str, dict[str, Any]] = {}
        self._flags: dict[str, Any] = {}
        self._tickets = itertools.count()

    def put(self, item: Item) -> None:
        """Raises TypeError for the number and id of one that waits already, and yet the item is in: as ComfyUI."""
        with self._lock:
            heapq.heappush(self._pending, item)
            self._changed()
            self._not_empty.notify()

    def take(self, timeout: float) -> tuple[Item, int] | None:
        """The first by (number, id), which then runs; None when nothing comes or a flag is set."""
        with self._not_empty:
            if not self._pending:
                self._not_empty.wait(timeout)
            if not self._pending:
                return None
            item, ticket = heapq.heappop(self._pending), next(self._tickets)
            self._running[ticket] = copy.deepcopy(item)
            self._changed()
            return item, ticket

    def wake(self) -> None:
        with self._lock:
            self._not_empty.notify_all()

    def done(self, ticket: int, result: dict[str, Any], status: dict[str, Any]) -> None:
        """Moves a running prompt to the history, without its secrets, in one step."""
        with self._lock:
            item = self._running.pop(ticket)[:5]
            if len(self._history) > HISTORY_MAX:
                self._history.pop(next(iter(self._history)))
            for secret in SECRETS:
                if secret in item[3]:
                    item[3].pop(secret)
            self._history[item[1]] = {"prompt": item, "outputs": {}, "status": copy.deepcopy(status), **result}
            self._changed()

    def snapshot(self) -> tuple[list[Item], list[Item]]:
        """Running, and pending in the heap's order; never a prompt twice or not at all."""
        with self._lock:
            return list(self._running.values()), list(self._pending)

    def remaining(self) -> int:
        with self._lock:
            return len(self._pending) + len(self._running)

    def clear(self) -> None:
        with self._lock:
            self._pending = []
            self._changed()

    def delete(self, prompt_id: object) -> bool:
        with self._lock:
            for index, item in enumerate(self._pending):
                if item[1] == prompt_id:
                    self._remove(index)
                    return True
        return False

    def _remove(self, index: int) -> None:
        if len(self._pending) == 1:
            self.clear()
        else:
            self._pending.pop(index)
            heapq.heapify(self._pending)
        self._changed()

    def if_running(self, prompt_id: object, act: Callable[[], None]) -> bool:
        """Acts while that prompt runs and cannot end; False when it does not run."""
        with self._lock:
            if all(item[1] != prompt_id for item in self._running.values()):
                return False
            act()
            return True

    def history(self, max_items: int | None = None, offset: int = -1) -> dict[str, Any]:
        """Oldest first; without an offset the newest `max_items`."""
        with self._lock:
            if offset < 0 and max_items is not None:
                offset = len(self._history) - max_items
            found: dict[str, Any] = {}
            for key, record in itertools.islice(self._history.items(), max(offset, 0), None):
                found[key] = record
                if max_items is not None and len(found) >= max_items:
                    break
            return found

    def record(self, prompt_id: str) -> dict[str, Any]:
        with self._lock:
            return {prompt_id: self._history[prompt_id]} if prompt_id in self._history else {}

    def clear_history(self) -> None:
        with self._lock:
            self._history = {}

    def forget(self, prompt_id: Any) -> None:
        with self._lock:
            self._history.pop(prompt_id, None)

    def set_flag(self, name: str, value: Any) -> None:
        with self._lock:
            self._flags[name] = value
            self._not_empty.notify()

    def take_flags(self) -> dict[str, Any]:
        with self._lock:
            flags, self._flags = self._flags, {}
            return flags
