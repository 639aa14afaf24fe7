"""Events between replicas, and their log: a client on one replica follows prompts that another one hears.

State events are logged with a place that orders them everywhere; frames go on to replicas that have the client. What
got lost on the way is read from the log before the client is told of the end. A client on this replica waits for none
of that.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from contextlib import suppress

from gateway.domain.frames import Frame, Kind, parse
from gateway.domain.ids import PromptId, ReplicaId
from gateway.domain.jobs import Job
from gateway.domain.ports import Carried, EventBus, Interest, Message
from gateway.flows.clients import Clients
from gateway.flows.sharing import forever

log = logging.getLogger(__name__)

_STATE = frozenset((Kind.START, Kind.CACHED, Kind.EXECUTING, Kind.EXECUTED, Kind.BLOCKED))
_WAITING_AT_MOST = 10_000
_BATCH = 200
_ANNOUNCED_FOR = 15.0
_ANNOUNCE_EVERY = 5.0
_PLACES_KEPT = 4096
_FLUSH = 1.0


class Exchange:
    def __init__(self, bus: EventBus, clients: Clients, replica: ReplicaId) -> None:
        self._bus = bus
        self._clients = clients
        self._replica = replica
        self._others: dict[ReplicaId, tuple[Interest, float]] = {}
        self._out: deque[tuple[Job, Frame]] = deque()
        self._bell = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._news = asyncio.Event()
        self._places: dict[PromptId, str] = {}
        clients.carry, clients.flush = self.carry, self.flush
        clients.missed, clients.came = self.missed, self._news.set
        clients.elsewhere = self._elsewhere

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for step in (self.send, self.receive, self.announce):
                group.create_task(forever(step), name=f"exchange: {step.__name__}")

    def carry(self, job: Job, frame: Frame) -> None:
        """Log it, and bring it to the client's other replicas. Never waits; progress is left out under pressure."""
        state = frame.kind in _STATE
        if state or (len(self._out) < _WAITING_AT_MOST and self._elsewhere(job)):
            self._out.append((job, frame))
            self._idle.clear()
            self._bell.set()

    async def flush(self) -> None:
        """Return when all that was carried is in the log, or after a second: an end must not overtake it there."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH):
                await self._idle.wait()

    async def missed(self, id: PromptId) -> list[Frame]:
        """State events of a prompt that another replica logged and that did not get here."""
        place = self._places.pop(id, None)
        if place is None:
            return []
        logged = await self._bus.since(id, place)
        return [frame for frame in (parse(one.event) for one in logged) if not frame.kind.ends]

    async def send(self) -> None:
        """Carry out what waits, in order."""
        await self._bell.wait()
        self._bell.clear()
        try:
            while self._out:
                await self._send([self._out.popleft() for _ in range(min(_BATCH, len(self._out)))])
        finally:
            self._idle.set()

    async def receive(self) -> None:
        """Take in what the others send, until it breaks off."""
        await self._bus.announce(Interest(self._replica, self._clients.ids(), asks=True))
        async for message in self._bus.messages():
            await self._take(message)

    async def announce(self) -> None:
        """Tell the others whom we have: when that changes, and every few seconds."""
        try:
            async with asyncio.timeout(_ANNOUNCE_EVERY):
                await self._news.wait()
        except TimeoutError:
            pass
        self._news.clear()
        await self._bus.announce(Interest(self._replica, self._clients.ids()))

    async def _send(self, batch: list[tuple[Job, Frame]]) -> None:
        logged = [(job.id, frame.raw) for job, frame in batch if frame.kind in _STATE and isinstance(frame.raw, str)]
        places = iter(await self._bus.log(logged) if logged else ())
        to: dict[ReplicaId, list[Carried]] = {}
        for job, frame in batch:
            place = next(places) if frame.kind in _STATE and isinstance(frame.raw, str) else None
            if job.client_id is not None:
                for replica in self._elsewhere(job):
                    to.setdefault(replica, []).append(Carried(job.id, job.client_id, place, frame.raw))
        for replica, carried in to.items():
            await self._bus.send(replica, carried)

    def _elsewhere(self, job: Job) -> list[ReplicaId]:
        now = time.monotonic()
        return [
            replica
            for replica, (interest, heard) in self._others.items()
            if job.client_id in interest.clients and now - heard < _ANNOUNCED_FOR
        ]

    async def _take(self, message: Message) -> None:
        if isinstance(message, Interest):
            await self._learn(message)
            return
        if message.place is not None:
            if message.place <= self._places.get(message.prompt, ""):
                return
            self._places[message.prompt] = message.place
            if len(self._places) > _PLACES_KEPT:
                del self._places[next(iter(self._places))]
        self._clients.deliver(message.prompt, message.client, parse(message.raw))

    async def _learn(self, interest: Interest) -> None:
        """Whom another replica has; those that are new to it are shown what runs."""
        if interest.replica == self._replica:
            return
        before = self._others.get(interest.replica)
        self._others[interest.replica] = (interest, time.monotonic())
        fresh = interest.clients - (before[0].clients if before else frozenset())
        running = self._clients.now(fresh)
        shown = [Carried(job.id, job.client_id, None, frame.raw) for job, frame in running if job.client_id]
        if shown:
            await self._bus.send(interest.replica, shown)
        if interest.asks:
            self._news.set()
