"""The clients with an event socket on this replica, and what each is told, in order and only of its own prompts.

Frames come from the relays. Counts and ends come from the mirror, when the store has them: so a client that is told of
an end finds the record, whichever replica saw it happen, and an end that no socket brought is told like any other.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress

from gateway.domain.errors import StoreUnavailable
from gateway.domain.frames import Frame, Kind, public
from gateway.domain.ids import ClientId, PromptId
from gateway.domain.jobs import Accepted, Ended, Job, Outcome, Queued, attempt_of, is_live
from gateway.domain.outbox import Item
from gateway.domain.records import Record, last_event, story
from gateway.domain.untold import Untold
from gateway.flows.connection import Connection, Room
from gateway.flows.early import Early
from gateway.flows.ends import Ends
from gateway.flows.mirror import Mirror, News
from gateway.flows.query import RecordCache
from gateway.flows.sharing import insisting

log = logging.getLogger(__name__)

_KEPT = (Kind.EXECUTING, Kind.PROGRESS_STATE, Kind.PREVIEW)


async def _at_once() -> None:
    return


async def _nobody(_: Job, __: Record) -> None:
    return


async def _nothing(_: Job) -> list[Frame]:
    return []


class Clients:
    def __init__(self, mirror: Mirror, records: RecordCache, room: Room) -> None:
        self._mirror = mirror
        self._records = records
        self._room = room
        self._by_id: dict[ClientId, list[Connection]] = {}
        self._now: dict[PromptId, dict[Kind, Frame]] = {}  # what running prompts show, for sockets that come later
        self._announced: set[PromptId] = set()  # their client was told that the count rose for them
        self.carry: Callable[[Job, Frame], None] = lambda job, frame: None  # to clients elsewhere, and to the log
        self.flush: Callable[[], Awaitable[None]] = _at_once
        self.missed: Callable[[Job], Awaitable[list[Frame]]] = _nothing  # state events that did not get here
        self.unheard: Callable[[Job, Record], Awaitable[None]] = _nobody  # tells results that nobody heard
        self.came: Callable[[], Awaitable[None]] = _at_once  # a client: the other replicas know when this returns
        self.went: Callable[[ClientId], None] = lambda _: None
        self.elsewhere: Callable[[ClientId], object] = lambda _: False  # whether another replica has this client
        self.untold = Untold()
        self.early = Early()
        self._ends = Ends(lambda id: id in mirror.live)
        self.told = self._ends.told
        self._farm_told = -1

    def __len__(self) -> int:
        return sum(map(len, self._by_id.values()))

    @asynccontextmanager
    async def joined(self, client_id: ClientId) -> AsyncIterator[Connection]:
        """A socket of this client, for as long as the context lasts; several of one client all receive."""
        await self._mirror.fresh()
        connection = Connection(client_id, self._room)
        connection.put(connection.told.hello(client_id, self.remaining(client_id)))
        for job, frame in self.now(frozenset((client_id,))):
            if job.id not in self.early:  # else it is still to be told from its start
                connection.put(connection.told.frame(job.id, frame))
        self._by_id.setdefault(client_id, []).append(connection)
        try:
            self._tell_untold(client_id)
            await self.came()
            yield connection
        finally:
            self._by_id[client_id].remove(connection)
            if not self._by_id[client_id]:
                del self._by_id[client_id]
                self.went(client_id)

    def frame(self, job: Job, frame: Frame) -> None:
        """A frame from a worker about a prompt that runs there. Never waits."""
        attempt = attempt_of(job)
        shown = public(frame, job.id, attempt.id if attempt else None)
        unheard = frame.kind is not Kind.START and job.id not in self._now
        if unheard or frame.kind is Kind.START:
            self._announce(job)
        if unheard:
            self.early.tell(job.id, lambda: self._begin(job))
        self._remember(job.id, shown)
        self.carry(job, shown)
        self.deliver(job.id, job.client_id, shown)

    def _begin(self, job: Job) -> None:
        """Its start was said while nobody could hear the worker."""
        start = [("execution_start", {"prompt_id": job.id, "timestamp": int(time.time() * 1000)})]
        for connection in self._by_id.get(job.client_id or ClientId(""), ()):
            if job.id in connection.awaited:
                connection.replay(job.id, start)

    async def expected(self, id: PromptId) -> None:
        """Something about this prompt has come from another replica: know of it first, as its clients do."""
        if id not in self._mirror.jobs:
            with suppress(StoreUnavailable):
                await self._mirror.fresh()
        if (job := self._mirror.jobs.get(id)) is not None and not isinstance(job.state, Ended):
            self._announce(job)

    def awaits(self, client_id: ClientId, id: PromptId) -> bool:
        """Whether a socket of this client here is still to be told that this prompt began."""
        return any(id in connection.awaited for connection in self._by_id.get(client_id, ()))

    def deliver(self, id: PromptId, client_id: ClientId | None, shown: Frame) -> None:
        """To the sockets of this client here, after the 200 of its post if that is made here."""
        counted = self.remaining(client_id) if client_id and shown.kind is Kind.START else 0
        self.early.tell(id, lambda: self._deliver(id, client_id, shown, counted))

    def _deliver(self, id: PromptId, client_id: ClientId | None, shown: Frame, counted: int) -> None:
        """`counted`: what its client waited for when this was heard; it may be over since then."""
        for connection in self._by_id.get(client_id or ClientId(""), ()):
            if shown.kind is Kind.START:
                connection.awaited.discard(id)
                connection.put(connection.told.status(max(counted, self.remaining(connection.client_id))))
            connection.put(connection.told.frame(id, shown))

    def now(self, clients: frozenset[ClientId]) -> Iterator[tuple[Job, Frame]]:
        """What the running prompts of these clients show at the moment, as far as this replica hears it."""
        for id, now in self._now.items():
            if (job := self._mirror.live.get(id)) is not None and job.client_id in clients:
                for kind in _KEPT:
                    if kind in now:
                        yield job, now[kind]

    def ids(self) -> frozenset[ClientId]:
        return frozenset(self._by_id)

    def has(self, client_id: ClientId | None) -> bool:
        return client_id in self._by_id

    async def running(self) -> list[Job]:
        """Prompts of the clients here that are on a worker as of now, whoever hears that one."""
        await self._mirror.fresh()
        return [job for job in self._mirror.live.values() if self.has(job.client_id) and attempt_of(job)]

    def remaining(self, client_id: ClientId) -> int:
        """The mirror's count, and what runs already though its 200 is still under way: so it is never 0 too soon."""
        accepted = self._mirror.accepted.values()
        early = sum(1 for job in accepted if job.client_id == client_id and job.id in self._announced)
        return early + self._mirror.remaining(client_id)

    def posted(self, id: PromptId, client_id: ClientId | None) -> None:
        """Nothing that is new of this prompt is told before `early.answered`; one that is known goes on as it was."""
        if client_id is not None and id not in self._mirror.jobs:
            self.early.posted(id)

    async def counted(self, client_id: ClientId | None) -> None:
        """Return when the sockets of this client here are told of all that it was answered a 200 for: no smaller count
        comes after that answer."""
        if client_id in self._by_id:
            with suppress(StoreUnavailable):  # it is accepted all the same
                await self._mirror.fresh()

    def broadcast(self, frame: Frame) -> None:
        """A custom node's event outside of any prompt."""
        for connections in self._by_id.values():
            for connection in connections:
                connection.put([Item((frame.raw,))])

    def changed(self, news: News) -> None:
        """Counts at once; ends are told by `run`, which reads their records first."""
        for before, after in news.prompts:
            job = after or before
            if job is None:
                continue
            if after is None or isinstance(after.state, Ended):
                if after is not None and (before is None or isinstance(before.state, Accepted)):
                    self._announce(after)  # it came and ended since we last looked
                self._announced.discard(job.id)
                self._now.pop(job.id, None)
            if job.client_id is None:
                continue
            if after is not None and isinstance(after.state, Ended) and after.state.outcome is not Outcome.CANCELLED:
                if before is None or not isinstance(before.state, Ended):
                    self._ends.put(after)
                continue
            if after is not None and isinstance(after.state, Queued):
                self._now.pop(job.id, None)
            self._count(job.client_id, before, after)

    async def run(self) -> None:
        """Tell ends, one after the other."""
        while True:
            async with self._ends.next() as job:
                if job.client_id not in self._by_id:
                    self.untold.note(job, time.time())
                    continue
                try:
                    async for again in insisting():
                        with again:
                            await self._tell_end(job)
                except StoreUnavailable:
                    log.exception("the end of prompt %s could not be told", job.id)

    async def tick(self) -> None:
        """Tell ends that were left to a replica that died; and the farm's count, if it has changed, to clients that
        have no prompts of their own."""
        for client_id in self._by_id:
            self._tell_untold(client_id)
        farm = len(self._mirror.live)
        if farm == self._farm_told:
            return
        self._farm_told = farm
        for client_id, connections in self._by_id.items():
            if not self._mirror.knows(client_id):
                for connection in connections:
                    connection.put(connection.told.status(farm))

    def _tell_untold(self, client_id: ClientId) -> None:
        """Unless another replica has the client too: that one has told it, or is silent and will be forgotten."""
        if client_id in self.untold and not self.elsewhere(client_id):
            for job in self.untold.take(client_id, time.time()):
                self._ends.put(job)

    async def _tell_end(self, job: Job) -> None:
        assert isinstance(job.state, Ended)
        raw = (await self._records.get([job.id])).get(job.id)
        record = json.loads(raw) if raw else {}
        event, data = last_event(record, job, job.state.outcome)
        await self.early.told(job.id)
        await self._mirror.fresh()  # what was accepted meanwhile is counted
        for missed in await self.missed(job):  # last, for nothing of it may be told after this
            self.deliver(job.id, job.client_id, missed)
        for connection in self._by_id.get(job.client_id or ClientId(""), ()):
            if job.id in connection.awaited:
                connection.replay(job.id, story(record, job.id))
            remaining = self.remaining(connection.client_id)
            connection.put(connection.told.ended(job.id, event, data, remaining))

    def _count(self, client_id: ClientId, before: Job | None, after: Job | None) -> None:
        was, is_now = before is not None and is_live(before), after is not None and is_live(after)
        if after is not None and is_now and not was:
            self._announce(after)
            return
        for connection in self._by_id.get(client_id, ()):
            if was and after is not None and isinstance(after.state, Queued):
                connection.told.stopped(after.id)
            if was and not is_now:
                connection.awaited.discard(after.id if after else before.id if before else PromptId(""))
                connection.put(connection.told.status(self.remaining(client_id)))

    def _announce(self, job: Job) -> None:
        """The client waits for one more: told once, by the store's news or by the worker's, whichever comes first."""
        if job.client_id is None or job.id in self._announced:
            return
        self._announced.add(job.id)
        for connection in self._by_id.get(job.client_id, ()):
            connection.told.began(job.id)
            if job.id not in connection.told.running:
                connection.awaited.add(job.id)
            connection.put(connection.told.status(self.remaining(job.client_id)))

    def _remember(self, id: PromptId, frame: Frame) -> None:
        if frame.kind is Kind.START:
            self._now[id] = {}
        if frame.kind in _KEPT and (now := self._now.get(id)) is not None:
            if frame.kind is Kind.EXECUTING:
                now.pop(Kind.PREVIEW, None)
            if not frame.png:
                now[frame.kind] = frame
