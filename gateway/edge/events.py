"""A prompt's state events as Server-Sent Events, to be taken up again by Last-Event-ID."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway.domain.errors import BadRequest
from gateway.domain.ids import PromptId
from gateway.flows.follow import Follow

_PLACE = re.compile(r"[0-9]{1,19}-[0-9]{1,19}")  # of 64 bits each


class EventRoutes:
    def __init__(self, follow: Follow) -> None:
        self._follow = follow

    async def stream(self, request: Request) -> Response:
        id = PromptId(request.path_params["prompt_id"])
        place = request.headers.get("Last-Event-ID") or request.query_params.get("last_event_id") or ""
        if place and not _PLACE.fullmatch(place):
            raise BadRequest("Last-Event-ID must be an id that this stream gave", field="Last-Event-ID")
        await self._follow.known(id)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(self._lines(id, place), 200, headers, "text/event-stream")

    async def _lines(self, id: PromptId, place: str) -> AsyncIterator[str]:
        async for event in self._follow.events(id, place):
            if event is None:
                yield ": still here\n\n"
            else:
                told = json.loads(event.event)
                yield f"id: {event.place}\nevent: {told['type']}\ndata: {json.dumps(told['data'])}\n\n"
