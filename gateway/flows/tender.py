"""Looking after one worker, for as long as this replica holds its lease: observe it, hear it, watch what runs there."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from contextlib import suppress
from dataclasses import replace

from gateway.domain.errors import GatewayError, WorkerSilent
from gateway.domain.ids import AttemptId, WorkerName
from gateway.domain.jobs import Assigned, Job, Running
from gateway.domain.ports import EventSource, Listening
from gateway.domain.workers import Suspect, Worker
from gateway.flows.lives import Disk
from gateway.flows.mirror import Mirror
from gateway.flows.observe import Observer
from gateway.flows.relay import Relay
from gateway.flows.sharing import cancelled
from gateway.flows.watch import Watch

log = logging.getLogger(__name__)

_IDLE_LOOK = 1.0
_CALM_LOOK = 5.0
"""While the worker tells what it does; a thousand of them are a thousand looks."""
_AFTER_TROUBLE = 0.5
_DEAF_AFTER = 2.0
"""Every post that a worker answered brings a `status` at once; without one in this time its socket is deaf (W6)."""
_DISK_AGAIN = 0.1
_NEWS_TAKES = 0.5
"""Seconds by which a post may be known here later than its `status` is heard."""


class Tender:
    def __init__(
        self,
        name: WorkerName,
        mirror: Mirror,
        observer: Observer,
        watch: Watch,
        relay: Relay,
        events: EventSource,
        disk: Disk,
    ) -> None:
        self._name = name
        self._mirror = mirror
        self._observer = observer
        self._watch = watch
        self._relay = relay
        self._events = events
        self._disk = disk
        self._bell = asyncio.Event()
        self._strangers: set[str] = set()
        self._deaf_at = 0.0  # until the relay is connected again
        self._since: dict[AttemptId, float] = {}  # when each prompt here was first known of
        relay.on_end, relay.on_stranger = self._heard, self._heard_stranger
        relay.on_start, relay.on_freed = self._heard_start, self._heard_over
        disk.doubt()

    def wake(self) -> None:
        """Something may be due: the mirror changed."""
        self._note()
        self._bell.set()

    def reread(self) -> None:
        self._observer.hurry("poll", "catalogue")
        self._bell.set()

    async def run(self) -> None:
        worker = self._mirror.workers[self._name]
        async with self._events.listen(worker.url, self._relay, worker.sid) as listening, asyncio.TaskGroup() as group:
            self._observer.joined = listening.joined
            relaying = group.create_task(self._relay.run(), name=f"relay {self._name}")
            looking = group.create_task(self._look_at_disk(), name=f"disk {self._name}")
            while self._name in self._mirror.workers and not cancelled():
                await self._once(listening)
            relaying.cancel()
            looking.cancel()

    async def _once(self, listening: Listening) -> None:
        self._bell.clear()
        pause = _AFTER_TROUBLE
        try:
            pause = await self._look(self._mirror.workers[self._name], listening)
        except GatewayError as error:
            log.warning("worker %s: %s", self._name, error)
            self._observer.hurry("poll")
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._bell.wait()

    async def _look(self, worker: Worker, listening: Listening) -> float:
        polls = self._observer.polls
        seen = await self._observer.look(replace(worker, sid=listening.sid, lives=self._disk.lives))
        if polls != self._observer.polls and seen.remaining < self._running():
            self._watch.hurry()
        if seen != worker:
            self._mirror.believe(seen)
        if isinstance(seen.liveness, Suspect) and seen.liveness.misses:
            return max(0.01, min(self._observer.next_look(), _IDLE_LOOK))  # it would not answer this either
        if not seen.answers:
            self._disk.doubt()
        if self._strangers:
            await self._watch.adopt(seen, [self._strangers.pop() for _ in range(len(self._strangers))])
        self._watch.blind = not listening.sid or self._relay.last_status <= self._deaf_at
        await self._watched(seen)
        if self._disk.lives not in (None, seen.lives):
            self._bell.set()  # to publish them
        if self._is_deaf():
            log.warning("worker %s: its socket is deaf", self._name)
            self._relay.last_status = self._deaf_at = time.monotonic()
            await listening.renew()
        rest = _CALM_LOOK if seen.answers and not self._watch.blind and self._settled() else _IDLE_LOOK
        return max(0.01, min(self._observer.next_look(), self._watch.next_look(), rest))

    async def _watched(self, worker: Worker) -> None:
        """Watch no longer than a poll may take, so that the polls which find a frozen worker down are not held up."""
        try:
            async with asyncio.timeout(self._observer.rhythm.poll_timeout):
                await self._watch.look(worker)
        except TimeoutError:
            raise WorkerSilent(f"{worker.url} stopped answering") from None

    async def _look_at_disk(self) -> None:
        """Whenever it is in doubt and the worker answers; beside the rest, for that must not wait for it."""
        while not cancelled():
            await self._disk.doubted()
            await asyncio.sleep(_DISK_AGAIN)  # one that goes down is seen to be down by then
            worker = self._mirror.workers.get(self._name)
            try:
                if worker is not None and worker.answers and await self._disk.look(worker):
                    self._bell.set()
            except GatewayError as error:
                log.info("worker %s: its disk was not looked at: %s", self._name, error)

    def _running(self) -> int:
        """How many of our prompts it has to have."""
        return sum(1 for job, _ in self._mirror.on(self._name) if _taken(job) and not job.over)

    def _note(self) -> None:
        now = time.monotonic()
        self._since = {attempt.id: self._since.get(attempt.id, now) for _, attempt in self._mirror.on(self._name)}

    def _is_deaf(self) -> bool:
        """Whether a prompt was taken here a while ago, and no `status` has been heard since."""
        self._note()
        first, last = self._relay.last_status + _NEWS_TAKES, time.monotonic() - _DEAF_AFTER
        return any(
            _taken(job) and first < self._since[attempt.id] < last for job, attempt in self._mirror.on(self._name)
        )

    def _settled(self) -> bool:
        """Whether all prompts here are the worker's, and it has been heard since it took them."""
        heard, held = self._relay.last_status + _NEWS_TAKES, self._mirror.on(self._name)
        return all(_taken(job) and self._since.get(attempt.id, math.inf) <= heard for job, attempt in held)

    def _heard_stranger(self, attempt: str) -> None:
        self._strangers.add(attempt)
        self._bell.set()

    def _heard_start(self, attempt: str) -> None:
        self._watch.began(attempt)
        self._bell.set()

    def _heard_over(self, attempt: str) -> None:
        self._watch.over(attempt)
        self._bell.set()

    def _heard(self, attempt: str | None) -> None:
        self._watch.hurry(attempt)
        if attempt is None:
            self._disk.doubt()
            self._observer.hurry("poll")
        self._bell.set()


def _taken(job: Job) -> bool:
    """Whether its worker has answered the post."""
    return isinstance(job.state, Running) or (isinstance(job.state, Assigned) and job.state.posted)
