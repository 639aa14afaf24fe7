"""POST /prompt and GET /prompt."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.domain.ids import new_prompt_id
from gateway.domain.labels import PRIORITY_HEADER, REQUIRES_HEADER, wishes
from gateway.domain.submission import parse
from gateway.edge.bodies import raw_json, read_json
from gateway.edge.callers import Callers
from gateway.flows.clients import Clients
from gateway.flows.query import Query
from gateway.flows.replies import Reply
from gateway.flows.submit import Submit


class PromptRoutes:
    def __init__(self, submit: Submit, query: Query, callers: Callers, clients: Clients) -> None:
        self._submit = submit
        self._query = query
        self._callers = callers
        self._clients = clients

    async def post(self, request: Request) -> Response:
        submission = parse(await read_json(request), new_prompt_id())
        id = submission.prompt_id
        caller = self._callers.of(request.scope, submission.client_id)
        wanted = wishes(
            submission.extra_data,
            requires=request.headers.get(REQUIRES_HEADER),
            priority=request.headers.get(PRIORITY_HEADER),
        )
        self._clients.posted(id, submission.client_id)
        try:
            reply = await self._submit(submission, caller, wanted)
            if reply.status == 200:
                await self._clients.counted(submission.client_id)
        except BaseException:
            self._clients.early.answered(id)
            raise
        return _Answer(reply, lambda: self._clients.early.sent(id))

    async def get(self, request: Request) -> Response:
        return raw_json(b'{"exec_info": {"queue_remaining": %d}}' % await self._query.remaining())


class _Answer(Response):
    """`written` is called when it is sent, or cannot be."""

    def __init__(self, reply: Reply, written: Callable[[], None]) -> None:
        super().__init__(reply.body, reply.status, {"Content-Type": reply.content_type})
        self._written = written

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._written()
