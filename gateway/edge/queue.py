"""/queue, /history, /interrupt and /free."""

from __future__ import annotations

import json

from starlette.requests import Request
from starlette.responses import Response

from gateway.domain.errors import BrokenBody
from gateway.domain.ids import PromptId
from gateway.edge.bodies import empty, ids_in, integer, is_text, raw_json, read_edits, read_object
from gateway.edge.callers import Callers
from gateway.flows.control import Control, in_batches
from gateway.flows.query import Query


class QueueRoutes:
    def __init__(self, query: Query, control: Control, callers: Callers) -> None:
        self._query = query
        self._control = control
        self._callers = callers

    async def queue(self, request: Request) -> Response:
        return raw_json(await self._query.queue())

    async def edit_queue(self, request: Request) -> Response:
        """`clear` the caller's own, `delete` by id; always an empty 200, whatever was found (contract 1.1)."""
        body = await read_edits(request)
        ids = ids_in(body, "delete") if "delete" in body else []
        if body.get("clear"):
            await self._control.delete_own(self._callers.of(request.scope, body.get("client_id")))
        await in_batches(self._control.delete, ids)
        return empty()

    async def history(self, request: Request) -> Response:
        """Also by `prompt_id` in the query, as the seed document has it."""
        if (id := request.query_params.get("prompt_id")) is not None:
            return raw_json(await self._query.history_of(PromptId(id)))
        return raw_json(await self._query.history(integer(request, "max_items"), integer(request, "offset")))

    async def history_of(self, request: Request) -> Response:
        return raw_json(await self._query.history_of(PromptId(request.path_params["prompt_id"])))

    async def edit_history(self, request: Request) -> Response:
        body = await read_edits(request)
        ids = ids_in(body, "delete") if "delete" in body else []
        if body.get("clear"):
            await self._control.forget_own(self._callers.of(request.scope, body.get("client_id")))
        await self._control.forget(ids)
        return empty()

    async def interrupt(self, request: Request) -> Response:
        """By prompt_id (body, or the query for a GET), else the caller's own; a body that is no JSON counts as none."""
        body = await _tolerant(request)
        given = body.get("prompt_id") or request.query_params.get("prompt_id")
        if isinstance(given, str):
            await in_batches(self._control.interrupt, [PromptId(id) for id in [given] if is_text(id)])
        else:
            await self._control.interrupt_own(self._callers.of(request.scope, body.get("client_id")))
        return empty()

    async def free(self, request: Request) -> Response:
        await self._control.free(json.dumps(await read_object(request)).encode())
        return empty()


async def _tolerant(request: Request) -> dict[str, object]:
    """Raises BrokenBody for what ComfyUI answers its bare 500 to: bytes that are no text, and endless nesting."""
    try:
        body = json.loads((await request.body() or b"{}").decode())
    except json.JSONDecodeError:
        return {}
    except (UnicodeDecodeError, RecursionError) as error:
        raise BrokenBody("the body cannot be read") from error
    if not isinstance(body, dict):
        raise BrokenBody("the body must be a JSON object")
    return body
