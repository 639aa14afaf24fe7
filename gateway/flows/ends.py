"""Ends that clients are still to be told: one after the other, and others can wait until one has been told."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from gateway.domain.ids import PromptId
from gateway.domain.jobs import Job

_PATIENCE = 1.0


class Ends:
    def __init__(self, lives: Callable[[PromptId], bool]) -> None:
        """`lives`: whether a prompt has not ended yet."""
        self._lives = lives
        self._jobs: deque[Job] = deque()
        self._telling: PromptId | None = None
        self._put = asyncio.Event()
        self._moved = asyncio.Event()  # set for a moment, so that all who wait look again

    def put(self, job: Job) -> None:
        self._jobs.append(job)
        self._put.set()
        self._move()

    @asynccontextmanager
    async def next(self) -> AsyncIterator[Job]:
        """The one that is to be told around the body; waits for one."""
        while not self._jobs:
            self._put.clear()
            await self._put.wait()
        job = self._jobs.popleft()
        self._telling = job.id
        try:
            yield job
        finally:
            self._telling = None
            self._move()

    async def told(self, id: PromptId) -> None:
        """Return when this end is told, or after a second: what comes after it is held up no longer."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                while self._lives(id) or id == self._telling or any(job.id == id for job in self._jobs):
                    await self._moved.wait()

    def _move(self) -> None:
        self._moved.set()
        self._moved.clear()
