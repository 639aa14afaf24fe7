"""One prompt's state events from its log, as they come: for programs that do not speak ComfyUI's socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from gateway.domain.errors import NotFound
from gateway.domain.frames import parse
from gateway.domain.ids import PromptId
from gateway.domain.jobs import Ended
from gateway.domain.ports import EventBus, LoggedEvent
from gateway.flows.mirror import Mirror

_LOOK_EVERY = 0.25
_HEARTBEAT = 15.0


class Follow:
    def __init__(self, bus: EventBus, mirror: Mirror) -> None:
        self._bus = bus
        self._mirror = mirror

    async def known(self, id: PromptId) -> None:
        """Raises NotFound for a prompt that nobody knows."""
        await self._mirror.fresh()
        if id not in self._mirror.jobs:
            raise NotFound(f"no prompt has the id {id!r}")

    async def events(self, id: PromptId, place: str) -> AsyncIterator[LoggedEvent | None]:
        """What comes after `place`, up to the end; None now and then while nothing does."""
        quiet = 0.0
        while True:
            over = self._over(id)  # asked before the log is read: then the log has it all
            for event in await self._bus.since(id, place):
                place, quiet = event.place, 0.0
                yield event
                if parse(event.event).kind.ends:  # an ExecutionBlocked is no end
                    return
            if over:
                return
            quiet += _LOOK_EVERY
            if quiet > _HEARTBEAT:
                quiet = 0.0
                yield None
            await asyncio.sleep(_LOOK_EVERY)
            await self._mirror.fresh()

    def _over(self, id: PromptId) -> bool:
        job = self._mirror.jobs.get(id)
        return job is None or isinstance(job.state, Ended)
