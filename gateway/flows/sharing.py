"""Work that callers share, and tasks that somebody owns."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from gateway.domain.errors import StoreUnavailable

_INSIST = 120.0
_CANCEL_AGAIN = 0.5

log = logging.getLogger(__name__)


class Shared:
    """One run serves all who asked before it began: `await shared()` returns after a run that started later."""

    def __init__(self, run: Callable[[], Awaitable[None]]) -> None:
        self._run = run
        self._asked: list[asyncio.Future[None]] = []
        self._task: asyncio.Task[None] | None = None

    async def __call__(self) -> None:
        asked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked.append(asked)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._serve(), name="shared run")
        await asked

    async def _serve(self) -> None:
        while self._asked:
            asked, self._asked = self._asked, []
            failure: Exception | None = None
            try:
                await self._run()
            except Exception as error:  # noqa: BLE001 - handed to all who wait
                failure = error
            except BaseException:
                for one in (*asked, *self._asked):
                    one.cancel()
                raise
            for one in asked:
                if one.done():
                    continue  # who asked waits no more
                if failure is None:
                    one.set_result(None)
                else:
                    one.set_exception(failure)


def insisting() -> AsyncRetrying:
    """Tries again while the store is away: what a worker was told must come on record. Give it safe steps only."""
    return AsyncRetrying(
        retry=retry_if_exception_type(StoreUnavailable),
        wait=wait_random_exponential(multiplier=0.1, max=2),
        stop=stop_after_delay(_INSIST),
        reraise=True,
    )


def cancelled() -> bool:
    """Whether the running task was told to end.

    A library that is cancelled in the middle may come out with an error of its own instead, so whoever goes on after
    errors has to ask.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def stopped(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel them, again and again where one did not heed it, and return when all have ended."""
    going = set(tasks)
    while going:
        for task in going:
            task.cancel()
        _, going = await asyncio.wait(going, timeout=_CANCEL_AGAIN)


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """Run what never ends by itself for as long as the body runs."""
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        await stopped([task])


async def forever(step: Callable[[], Awaitable[None]]) -> None:
    """Again and again, also after the store was away."""
    while not cancelled():
        try:
            await step()
        except StoreUnavailable as error:
            log.warning("%s: %s", step.__qualname__, error)
            await asyncio.sleep(1)


class Tasks:
    """Owns background tasks: each is named, a failure is logged, and none outlives `close`."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        if self._closed:
            work.close()
            raise RuntimeError(f"{name}: too late, the gateway is closing")
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def __len__(self) -> int:
        return len(self._tasks)

    async def close(self, grace: float) -> None:
        """Let running tasks end within `grace` seconds, then cancel them."""
        self._closed = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        await stopped(self._tasks)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task %s failed", task.get_name(), exc_info=error)
