"""One worker's events, brought to the clients whose prompts they are about.

Frames are taken without ever waiting for a client. How a prompt ends is not told from here: that comes from its record,
once that is stored (flows/clients.py); an end that is heard only makes the watch look at once.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

from gateway.domain.errors import StoreUnavailable
from gateway.domain.frames import Frame, Kind, parse
from gateway.domain.ids import AttemptId, WorkerName
from gateway.domain.jobs import Attempt, Job
from gateway.flows.clients import Clients
from gateway.flows.mirror import Mirror

_WAITING_AT_MOST = 10_000
_STRANGERS_KEPT = 256
_NAMES_KEPT = 16
_STARTS_KEPT = 256


async def _as_it_is(_: WorkerName, frame: Frame) -> Frame:
    return frame


async def _keeps(_: Attempt) -> bool:
    return False


class Relay:
    """Hearing for one worker; `run` carries on what was heard, in order."""

    def __init__(self, worker: WorkerName, mirror: Mirror, clients: Clients) -> None:
        self._worker = worker
        self._mirror = mirror
        self._clients = clients
        self._frames: deque[tuple[Frame, int]] = deque()  # each with what the worker had to do just then
        self._bell = asyncio.Event()
        self._running: AttemptId | None = None
        self._strangers: OrderedDict[AttemptId, None] = OrderedDict()
        self._begun: OrderedDict[AttemptId, bool] = OrderedDict()  # heard without a gap; True once their end has been
        self._under: dict[str, set[AttemptId]] = {}
        self._before: Job | None = None  # over, and perhaps not told yet
        self._remaining = 0  # what the worker's last `status` says it has
        self.on_end: Callable[[str | None], None] = lambda _: None
        self.on_start: Callable[[str], None] = lambda _: None
        self.on_over: Callable[[Attempt], Awaitable[bool]] = _keeps
        self.on_freed: Callable[[str], None] = lambda _: None
        self.on_stranger: Callable[[str], None] = lambda _: None
        self.renamed: Callable[[WorkerName, Frame], Awaitable[Frame]] = _as_it_is  # with files by the farm's names
        self.last_status = time.monotonic()
        self.last_heard = -math.inf
        """When the worker said anything; at no time while it is not connected."""

    def frame(self, raw: str | bytes) -> None:
        frame = parse(raw)
        self.last_heard = time.monotonic()
        if frame.kind is Kind.STATUS:
            self.last_status = self.last_heard
            self._remaining = _remaining(frame)
        elif len(self._frames) < _WAITING_AT_MOST:
            self._frames.append((frame, self._remaining))
            self._bell.set()

    def connected(self) -> None:
        self.last_status = time.monotonic()
        self.on_end(None)

    def lost(self) -> None:
        self._running = None
        self._begun.clear()
        self.last_heard = -math.inf
        self.on_end(None)

    def hears(self, attempt: AttemptId) -> bool:
        """Whether all has been heard that this attempt did, from its start: one posted under a name at which nobody
        listens, or while the worker was not connected, did what it did unheard."""
        return attempt in self._begun

    def will_tell(self, attempt: AttemptId) -> bool:
        """Whether the end of this attempt is still to be heard, or to be carried on with all that comes before it."""
        return not self._begun.get(attempt, True)

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
                await self._take(*self._frames.popleft())

    async def _take(self, frame: Frame, remaining: int) -> None:
        attempt = frame.attempt or self._running
        if frame.kind is Kind.START:
            self._running = frame.attempt
            self._begin(frame.attempt)
        job = await self._job(attempt) if attempt else None
        if frame.kind is Kind.START and job is not None:
            await self._after_the_one_before(job)
            self.on_start(str(frame.attempt))
        if self._running is None and job is not None:
            self._running = attempt  # its start was not heard; what has no id belongs to it all the same
        if frame.idle or frame.kind.ends:
            await self._ended(frame, job, attempt, remaining)
        elif job is not None:
            self._clients.frame(job, await self.renamed(self._worker, frame))
        elif attempt is None and frame.kind is Kind.CUSTOM:
            self._clients.broadcast(await self.renamed(self._worker, frame))

    async def _ended(self, frame: Frame, job: Job | None, attempt: AttemptId | None, remaining: int) -> None:
        """It says so twice: when it has ended, and when it has put the record away."""
        freed = False
        if frame.idle:
            self._running = None
        elif job is not None:
            freed = await self._over(job, attempt, remaining)
        await self._clients.flush()
        if attempt is not None and attempt in self._begun:
            self._begun[attempt] = True
        if freed and attempt is not None:
            self.on_freed(attempt)
        else:
            self.on_end(attempt)

    def _begin(self, attempt: AttemptId | None) -> None:
        if attempt:
            self._begun[attempt] = False
            if len(self._begun) > _STARTS_KEPT:
                self._begun.popitem(last=False)

    async def _over(self, job: Job, attempt: AttemptId | None, remaining: int) -> bool:
        """Its slot is free from now on, unless the worker has more to do: perhaps what the prompt put there itself."""
        held = next((held for _, held in self._mirror.on(self._worker) if held.id == attempt), None)
        if held is None or remaining > 1:
            return False
        with suppress(StoreUnavailable):
            if await self.on_over(held):
                self._before = job
                return True
        return False

    async def _after_the_one_before(self, job: Job) -> None:
        """The worker ran one after the other, and their client is told so, though the first one's end takes longer."""
        before, self._before = self._before, None
        if before is not None and before.client_id == job.client_id:
            await self._clients.told(before.id)

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


def _remaining(status: Frame) -> int:
    try:
        return int(status.data["status"]["exec_info"]["queue_remaining"])
    except (KeyError, TypeError, ValueError):
        return 0
