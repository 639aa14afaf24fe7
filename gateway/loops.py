"""Background loops: a tick that fails is logged and tried again, never fatal, never silent."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

log = logging.getLogger(__name__)

_LAST_WORDS = 1.0
"""Seconds that a cancelled tick has to clean up before it is left behind."""


@dataclass(slots=True)
class Loop:
    """Runs `tick` now, then `every` seconds after it ended, or as soon as `wake` is called.

    Ticks never overlap, and `timeout` cuts one off, whatever the period is. `jitter` is the share of the period
    by which a pause may differ, so that many loops do not fall into step.
    """

    name: str
    every: float
    tick: Callable[[], Awaitable[object]]
    timeout: float = 60.0
    jitter: float = 0.0
    failures: int = 0  # in a row
    last_ok: float | None = None  # on the event loop's clock
    _started: float | None = None
    _stopping: bool = False
    _bell: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    def wake(self) -> None:
        """Tick at once; during a tick: once more right after it. Many wakes before a tick are one."""
        self._bell.set()

    def age(self) -> float:
        """Seconds since the last good tick ended; before the first, since the loop began."""
        since = self._started if self.last_ok is None else self.last_ok
        return 0.0 if since is None else asyncio.get_running_loop().time() - since

    def late(self) -> bool:
        """Whether a good tick is overdue by more than a hiccup: two periods and a time-out have passed."""
        return self.age() > 2 * self.every * (1 + self.jitter) + self.timeout

    def stop(self) -> None:
        """End after the tick that is running now, if any."""
        self._stopping = True
        self._bell.set()

    async def run(self) -> None:
        """Tick until `stop`. Only cancellation gets out of here."""
        self._stopping = False
        self._started = asyncio.get_running_loop().time()
        while not self._stopping:
            self._bell.clear()
            await self._tick()
            await self._pause()

    async def _tick(self) -> None:
        try:
            async with asyncio.timeout(self.timeout):
                await self.tick()
        except asyncio.CancelledError as exc:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            self._failed(exc)  # something that the tick awaited was cancelled, not we
        except Exception as exc:
            self._failed(exc)
        else:
            self.failures = 0
            self.last_ok = asyncio.get_running_loop().time()

    async def _pause(self) -> None:
        if self._stopping:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self.every * (1 + self.jitter * random.uniform(-1, 1))):
                await self._bell.wait()

    def _failed(self, exc: BaseException) -> None:
        """The first failure of a row brings its traceback, the others a line each."""
        self.failures += 1
        if self.failures == 1:
            log.error("loop %s: tick failed", self.name, exc_info=exc)
        else:
            log.warning("loop %s: tick failed %d times in a row: %r", self.name, self.failures, exc)


@asynccontextmanager
async def running(*loops: Loop, grace: float) -> AsyncIterator[None]:
    """Run the loops around the body; at the end let ticks finish, but not past `grace` seconds."""
    tasks = [asyncio.create_task(loop.run(), name=f"loop {loop.name}") for loop in loops]
    try:
        yield
    finally:
        for loop in loops:
            loop.stop()
        await _end(tasks, grace)


async def _end(tasks: list[asyncio.Task[None]], grace: float) -> None:
    if not tasks:
        return
    try:
        _, stuck = await asyncio.wait(tasks, timeout=grace)
    finally:
        for task in tasks:
            task.cancel()
    if stuck:
        _, stuck = await asyncio.wait(stuck, timeout=_LAST_WORDS)
    for task in stuck:
        log.error("%s does not end and is left behind", task.get_name())
