"""/api/jobs, in the shapes of newer ComfyUI whatever the workers are (contract 1.2)."""

from __future__ import annotations

import json
import uuid

from starlette.requests import Request
from starlette.responses import Response

from gateway.domain.errors import BadRequest
from gateway.domain.ids import PromptId
from gateway.domain.listing import parse
from gateway.edge.bodies import as_json, is_text
from gateway.flows.control import Control
from gateway.flows.query import Query


class JobRoutes:
    def __init__(self, query: Query, control: Control) -> None:
        self._query = query
        self._control = control

    async def listed(self, request: Request) -> Response:
        try:
            wanted = parse(request.query_params)
        except BadRequest as error:
            return as_json({"error": str(error)}, 400)
        return as_json(await self._query.jobs(wanted))

    async def one(self, request: Request) -> Response:
        job = await self._query.job(PromptId(request.path_params["job_id"]))
        return as_json({"error": "Job not found"}, 404) if job is None else as_json(job)

    async def cancel(self, request: Request) -> Response:
        done = await self._control.cancel([PromptId(request.path_params["job_id"])])
        return as_json({"cancelled": done})

    async def cancel_many(self, request: Request) -> Response:
        try:
            body = json.loads(await request.body())
        except (ValueError, RecursionError):
            return as_json({"error": "Request body must be valid JSON"}, 400)
        ids = body.get("job_ids") if isinstance(body, dict) else None
        if not isinstance(ids, list):
            return as_json({"error": "job_ids must be a list"}, 400)
        if wrong := [id if isinstance(id, str) else repr(id) for id in ids if not await self._is_id(id)]:
            return as_json({"error": "job_ids contains invalid id(s)", "invalid_ids": wrong}, 400)
        return as_json({"cancelled": await self._control.cancel([PromptId(id) for id in ids])})

    async def _is_id(self, id: object) -> bool:
        """A canonical UUID, or what a client of older ComfyUI has chosen as the id of a prompt that is known."""
        if not isinstance(id, str) or not is_text(id):
            return False
        try:
            if str(uuid.UUID(id)) == id:
                return True
        except ValueError:
            pass
        return await self._query.job(PromptId(id)) is not None
