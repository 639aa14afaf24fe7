"""One worker's events, brought to the clients whose prompts they are about.

Frames are taken without ever waiting for a client. How a prompt ends is not told from here: that comes from its record,
once that is stored (flows/clients.py); an end that is heard only makes the watch look at once.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from gateway.domain.frames import Frame, Kind, parse
from gateway.domain.ids import AttemptId, WorkerName
from gateway.domain.jobs import Job
from gateway.flows.clients import Clients
from gateway.flows.mirror import Mirror

_WAITING_AT_MOST = 10_000
_STRANGERS_KEPT = 256


class Relay:
    """Hearing for one worker; `run` carries on what was heard, in order."""

    def __init__(self, worker: WorkerName, mirror: Mirror, clients: Clients) -> None:
        self._worker = worker
        self._mirror = mirror
        self._clients = clients
        self._frames: deque[Frame] = deque()
        self._bell = asyncio.Event()
        self._running: AttemptId | None = None
        self._strangers: OrderedDict[AttemptId, None] = OrderedDict()
        self.on_end: Callable[[str | None], None] = lambda _: None
        self.last_status = time.monotonic()

    def frame(self, raw: str | bytes) -> None:
        frame = parse(raw)
        if frame.kind is Kind.STATUS:
            self.last_status = time.monotonic()
        elif len(self._frames) < _WAITING_AT_MOST:
            self._frames.append(frame)
            self._bell.set()

    def connected(self) -> None:
        self.last_status = time.monotonic()
        self.on_end(None)

    def lost(self) -> None:
        self._running = None
        self.on_end(None)

    def needs(self, sid: str) -> bool:
        """Posted under it or not: as long as anything of ours runs there, it may have been."""
        return bool(self._mirror.on(self._worker))

    async def run(self) -> None:
        while True:
            await self._bell.wait()
            self._bell.clear()
            while self._frames:
                await self._take(self._frames.popleft())

    async def _take(self, frame: Frame) -> None:
        attempt = frame.attempt or self._running
        if frame.kind is Kind.START:
            self._running = frame.attempt
        job = await self._job(attempt) if attempt else None
        if frame.idle or frame.kind.ends:
            if frame.idle:
                self._running = None
            self.on_end(attempt)
        elif job is not None:
            self._clients.frame(job, frame)
        elif attempt is None and frame.kind is Kind.CUSTOM:
            self._clients.broadcast(frame)

    async def _job(self, attempt: AttemptId) -> Job | None:
        """Whose attempt it is. One that is not known yet may just have been posted by another replica."""
        if (job := self._known(attempt)) is None and attempt not in self._strangers:
            await self._mirror.fresh()
            if (job := self._known(attempt)) is None:
                self._strangers[attempt] = None
                if len(self._strangers) > _STRANGERS_KEPT:
                    self._strangers.popitem(last=False)
        return job

    def _known(self, attempt: AttemptId) -> Job | None:
        return next((job for job, held in self._mirror.on(self._worker) if held.id == attempt), None)
