"""Work that goes on behind the answers: each piece under a key, never two of one key, few at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Any

from gateway.domain.errors import GatewayError
from gateway.flows.sharing import stopped

log = logging.getLogger(__name__)


class Flights:
    """Owns its tasks: they end with `close`. What they raise is for whoever waits on them, and logged if odd."""

    def __init__(self, parallel: int) -> None:
        self._slots = asyncio.Semaphore(parallel)
        self._under_way: dict[Hashable, asyncio.Task[Any]] = {}

    def start(self, key: Hashable, work: Callable[[], Awaitable[Any]]) -> asyncio.Task[Any]:
        """The task of that key: the one under way, else a new one."""
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.create_task(self._run(work), name=f"catalog {key}")
            self._under_way[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))
        return task

    async def close(self) -> None:
        await stopped(self._under_way.values())

    async def _run(self, work: Callable[[], Awaitable[Any]]) -> Any:
        async with self._slots:
            return await work()

    def _ended(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        del self._under_way[key]
        failure = None if task.cancelled() else task.exception()
        if failure is not None and not isinstance(failure, GatewayError | TimeoutError):
            log.error("%s failed", task.get_name(), exc_info=failure)
