"""One worker's events, brought to the clients whose prompts they are about.

Frames are taken without ever waiting for a client. How a prompt ends is not told from here: that comes from its record,
once that is stored (flows/clients.py); an end that is heard only makes the watch look at once.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

from gateway.domain.errors import StoreUnavailable
from gateway.domain.frames import Frame, Kind, parse
from gateway.domain.ids import AttemptId, WorkerName
from gateway.domain.jobs import Job
from gateway.flows.clients import Clients
from gateway.flows.mirror import Mirror

_WAITING_AT_MOST = 10_000
_STRANGERS_KEPT = 256
_NAMES_KEPT = 16


async def _as_it_is(_: WorkerName, frame: Frame) -> Frame:
    return frame


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
        self._under: dict[str, set[AttemptId]] = {}
        self.on_end: Callable[[str | None], None] = lambda _: None
        self.on_stranger: Callable[[str], None] = lambda _: None
        self.renamed: Callable[[WorkerName, Frame], Awaitable[Frame]] = _as_it_is  # with files by the farm's names
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
        """Whether anything that was there when this client_id was still posted under has not ended."""
        here = {attempt.id for _, attempt in self._mirror.on(self._worker)}
        worker = self._mirror.workers.get(self._worker)
        under = here if worker is not None and worker.sid == sid else here & self._under.get(sid, here)
        self._under[sid] = under
        if len(self._under) > _NAMES_KEPT:
            del self._under[next(iter(self._under))]
        return bool(under)

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
        if self._running is None and job is not None:
            self._running = attempt  # its start was not heard; what has no id belongs to it all the same
        if frame.idle or frame.kind.ends:
            if frame.idle:
                self._running = None
            await self._clients.flush()
            self.on_end(attempt)
        elif job is not None:
            self._clients.frame(job, await self.renamed(self._worker, frame))
        elif attempt is None and frame.kind is Kind.CUSTOM:
            self._clients.broadcast(await self.renamed(self._worker, frame))

    async def _job(self, attempt: AttemptId) -> Job | None:
        """Whose attempt it is. One that is not known yet may just have been posted by another replica."""
        if (job := self._known(attempt)) is None and attempt not in self._strangers:
            with suppress(StoreUnavailable):  # then it stays unknown, and the others are heard all the same
                await self._mirror.fresh()
            if (job := self._known(attempt)) is None:
                self._strangers[attempt] = None
                self.on_stranger(attempt)  # only a prompt of ours can have put it there under our client_id
                if len(self._strangers) > _STRANGERS_KEPT:
                    self._strangers.popitem(last=False)
        return job

    def _known(self, attempt: AttemptId) -> Job | None:
        return self._mirror.holder(self._worker, attempt)
