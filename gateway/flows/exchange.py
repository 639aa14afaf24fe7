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
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from gateway.domain.errors import StoreUnavailable
from gateway.domain.frames import Frame, Kind, made, parse
from gateway.domain.ids import ClientId, PromptId, ReplicaId
from gateway.domain.jobs import Job
from gateway.domain.ports import Carried, EventBus, Interest, Message, Subscribed
from gateway.domain.records import Record, story
from gateway.flows.clients import Clients
from gateway.flows.sharing import Shared, forever

log = logging.getLogger(__name__)

_STATE = frozenset((Kind.START, Kind.CACHED, Kind.EXECUTING, Kind.EXECUTED, Kind.BLOCKED))
_WAITING_AT_MOST = 10_000
_STATE_AT_MOST = 10 * _WAITING_AT_MOST
_BATCH = 200
_ANNOUNCED_FOR = 15.0
_ANNOUNCE_EVERY = 5.0
_PLACES_KEPT = 512
_FLUSH = 1.0


@dataclass(slots=True)
class _Parcel:
    """A frame on its way out, to those that had its client when it was heard. Not frozen, as frames are not."""

    job: Job
    frame: Frame
    to: tuple[ReplicaId, ...]
    logged: bool


class Exchange:
    def __init__(
        self, bus: EventBus, clients: Clients, replica: ReplicaId, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._bus = bus
        self._clients = clients
        self._replica = replica
        self._clock = clock
        self._others: dict[ReplicaId, tuple[Interest, float]] = {}
        self._alone = True  # never heard of another replica
        self._out: deque[_Parcel] = deque()
        self._bell = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._news = asyncio.Event()
        self._places: dict[ClientId, dict[PromptId, str]] = {}  # of the last event that our clients were told
        self._refilling = asyncio.Lock()
        self._announced = Shared(self._announce)
        clients.carry, clients.flush = self.carry, self.flush
        clients.missed, clients.came, clients.went = self.missed, self._announced, self._went
        clients.elsewhere, clients.unheard = self._elsewhere, self.unheard

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for step in (self.send, self.receive, self.announce):
                group.create_task(forever(step), name=f"exchange: {step.__name__}")

    def carry(self, job: Job, frame: Frame) -> None:
        """Log it, and bring it to the client's other replicas. Never waits; progress is left out under pressure."""
        state, to = frame.kind in _STATE and isinstance(frame.raw, str), self._elsewhere(job.client_id)
        if (state or to) and len(self._out) < (_STATE_AT_MOST if state else _WAITING_AT_MOST):
            self._put(_Parcel(job, frame, to, state))

    async def flush(self) -> None:
        """Return when all that was carried is in the log, or after a second: an end must not overtake it there."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH):
                await self._idle.wait()

    async def missed(self, job: Job) -> list[Frame]:
        """State events of a prompt that another replica logged and that did not get here; none are told after this."""
        frames = await self._lacking(job)
        self._places.get(job.client_id or ClientId(""), {}).pop(job.id, None)
        return frames

    async def unheard(self, job: Job, record: Record) -> None:
        """Tell and log the results in a prompt's record that its worker said while nobody heard it. When not even its
        start was heard, its clients are told all of it at its end."""
        await self.flush()
        logged = [parse(one.event) for one in await self._bus.since(job.id, "")]
        starts = [place for place, frame in enumerate(logged) if frame.kind is Kind.START]
        if not starts:
            return
        results = (frame.data for frame in logged[starts[-1] :] if frame.kind is Kind.EXECUTED)
        told = {data.get("node"): data.get("output") for data in results}
        frames = await self._lacking(job)
        for event, data in story(record, job.id):
            if event == "executed" and told.get(data["node"]) != data["output"]:
                frames.append(frame := parse(made.event(event, data)))
                self.carry(job, frame)
        for frame in frames:
            self._clients.deliver(job.id, job.client_id, frame)
        await self.flush()

    async def _lacking(self, job: Job) -> list[Frame]:
        client_id = job.client_id or ClientId("")
        if self._alone or not (self._place(client_id, job.id) or self._clients.awaits(client_id, job.id)):
            return []
        await self.flush()
        async with self._refilling:
            return await self._since(client_id, job.id)

    async def send(self) -> None:
        """Carry out what waits, in order."""
        await self._bell.wait()
        self._bell.clear()
        try:
            while self._out:
                await self._send(list(islice(self._out, _BATCH)))
        except StoreUnavailable:
            self._bell.set()
            raise
        self._idle.set()

    async def receive(self) -> None:
        """Take in what the others send, until it breaks off."""
        async for message in self._bus.messages():
            async with self._refilling:
                await self._take(message)

    async def announce(self) -> None:
        """Tell the others whom we have: when that changes, and every few seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_ANNOUNCE_EVERY):
                await self._news.wait()
        await self._announced()

    async def _announce(self) -> None:
        self._news.clear()
        await self._bus.announce(Interest(self._replica, self._clients.ids()))

    def _went(self, client_id: ClientId) -> None:
        self._places.pop(client_id, None)
        self._news.set()

    def _put(self, parcel: _Parcel) -> None:
        if not self._out:
            self._idle.clear()
            self._bell.set()
        self._out.append(parcel)

    async def _send(self, batch: list[_Parcel]) -> None:
        """What could not be logged stays, to be tried again; what could not be sent is read from the log by others."""
        logged = [parcel for parcel in batch if parcel.logged]
        events = [(parcel.job.id, parcel.frame.raw) for parcel in logged if isinstance(parcel.frame.raw, str)]
        places = iter(await self._bus.log(events) if events else ())
        to: dict[ReplicaId, list[Carried]] = {}
        last: dict[tuple[ClientId, PromptId], str] = {}
        for parcel in batch:
            self._out.popleft()
            job, place = parcel.job, next(places) if parcel.logged else None
            if job.client_id is None:
                continue
            if place is not None:
                last[job.client_id, job.id] = place
            for replica in parcel.to:
                to.setdefault(replica, []).append(Carried(job.id, job.client_id, place, parcel.frame.raw))
        for (client_id, id), place in last.items():
            self._told(client_id, id, place)
        for replica, carried in to.items():
            await self._bus.send(replica, carried)

    def _elsewhere(self, client_id: ClientId | None) -> tuple[ReplicaId, ...]:
        if not self._others:
            return ()
        now = self._clock()
        return tuple(
            replica
            for replica, (interest, heard) in self._others.items()
            if client_id in interest.clients and now - heard < _ANNOUNCED_FOR
        )

    async def _take(self, message: Message) -> None:
        match message:
            case Subscribed():
                await self._refill()
            case Interest():
                self._learn(message)
            case Carried():
                await self._deliver(message)

    async def _deliver(self, carried: Carried) -> None:
        """With what got lost before it, where the start is still to be told."""
        client_id, id, frame = carried.client, carried.prompt, parse(carried.raw)
        await self._clients.expected(id)
        lacks = frame.kind is not Kind.START and self._clients.awaits(client_id, id)
        if lacks and carried.place is not None and not self._place(client_id, id):
            for logged in await self._since(client_id, id):
                self._clients.deliver(id, client_id, logged)
        elif carried.place is None or self._told(client_id, id, carried.place):
            self._clients.deliver(id, client_id, frame)

    def _place(self, client_id: ClientId, id: PromptId) -> str:
        """Of the last event that our client was told."""
        return self._places.get(client_id, {}).get(id, "")

    def _told(self, client_id: ClientId, id: PromptId, place: str) -> bool:
        """Whether that was news to our client; from now on it is not."""
        if not self._clients.has(client_id):
            return False
        places = self._places.setdefault(client_id, {})
        if _order(place) <= _order(places.get(id, "")):
            return False
        places[id] = place
        if len(places) > _PLACES_KEPT:
            del places[next(iter(places))]
        return True

    async def _refill(self) -> None:
        """We listen from now on: ask whom the others have, and read what they sent before."""
        await self._bus.announce(Interest(self._replica, self._clients.ids(), asks=True))
        await self.flush()
        for job in await self._clients.running():
            if job.client_id is not None:
                for frame in await self._since(job.client_id, job.id):
                    self._clients.deliver(job.id, job.client_id, frame)

    async def _since(self, client_id: ClientId, id: PromptId) -> list[Frame]:
        """What the log has after the last event that our client was told."""
        logged = await self._bus.since(id, self._place(client_id, id))
        news = [one for one in logged if self._told(client_id, id, one.place)]
        return [frame for frame in (parse(one.event) for one in news) if not frame.kind.ends]

    def _learn(self, interest: Interest) -> None:
        """Whom another replica has; those that are new to it are shown what runs."""
        if interest.replica == self._replica:
            return
        self._alone, now = False, self._clock()
        self._others = {name: (one, at) for name, (one, at) in self._others.items() if now - at < _ANNOUNCED_FOR}
        had = self._others[interest.replica][0].clients if interest.replica in self._others else frozenset()
        self._others[interest.replica] = (interest, now)
        self._clients.untold.forget(interest.clients | had)  # it lives, and has told them
        for job, frame in self._clients.now(interest.clients - had):
            self._put(_Parcel(job, frame, (interest.replica,), logged=False))
        if interest.asks:
            self._news.set()


def _order(place: str) -> tuple[int, ...]:
    return tuple(map(int, place.split("-"))) if place else ()
