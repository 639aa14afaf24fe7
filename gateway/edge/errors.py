"""One table from exceptions to answers. What ComfyUI has an answer for gets that one, the rest its error shape."""

from __future__ import annotations

import math
from collections.abc import Mapping

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.domain import errors
from gateway.edge.bodies import as_json
from gateway.edge.http import SINK

STATUS: Mapping[type[errors.GatewayError], int] = {
    errors.BadRequest: 400,
    errors.BrokenBody: 500,
    errors.PromptRefused: 400,
    errors.PromptConflict: 409,
    errors.CallerQueueFull: 429,
    errors.FarmQueueFull: 503,
    errors.NotFound: 404,
    errors.NotShown: 404,
    errors.Forbidden: 403,
    errors.BodyTooLarge: 413,
    errors.WorkerError: 502,
    errors.WorkerRefused: 502,
    errors.WorkerSilent: 504,
    errors.WorkerRejected: 502,
    errors.NoWorker: 503,
    errors.StoreUnavailable: 503,
    errors.BlobsUnavailable: 503,
}
_RETRY_AFTER = 5
_AWAY = "the gateway cannot reach its state at the moment"
"""Where that is, and what its driver says, is for the log and /readyz."""
_BARE = "500 Internal Server Error\n\nServer got itself in trouble"
"""aiohttp's words for what its handler raised; ComfyUI's clients know them (recording invalid.json)."""


class Telling:
    """Answers what is raised further in, unless an answer has begun; what is no GatewayError is raised on, too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        said = scope.get("extensions", {}).get(SINK)
        passed = send
        if said is None:
            said = passed = _Noting(send)
        try:
            await self._app(scope, receive, passed)
        except errors.GatewayError as error:
            if said.response_started:
                raise
            await on_gateway_error(error)(scope, receive, send)
        except ClientDisconnect:
            return  # in the middle of its body: no error of ours, and nobody to answer
        except Exception:
            if not said.response_started and scope["type"] == "http":
                await trouble()(scope, receive, send)
            raise


class _Noting:
    """Whether an answer has begun, where the server does not tell: of sockets, and of servers that are not ours."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.response_started = False

    async def __call__(self, message: Message) -> None:
        self.response_started = True
        await self._send(message)


def on_gateway_error(error: errors.GatewayError) -> Response:
    status = status_of(error)
    if isinstance(error, errors.BrokenBody):
        return trouble()
    if isinstance(error, errors.NotShown):
        return Response(status_code=error.status)
    if isinstance(error, errors.BodyTooLarge):
        return Response(str(error), status, media_type="text/plain")
    headers = {"Retry-After": str(_retry_after(error))} if status in (429, 503) else {}
    if isinstance(error, errors.PromptRefused):
        return as_json(error.body(), status, headers)
    if isinstance(error, errors.WorkerRejected):
        return Response(error.body, error.status, {"Content-Type": error.content_type or "text/plain"})
    extra = {"field": error.field} if isinstance(error, errors.BadRequest) and error.field else {}
    message = _AWAY if isinstance(error, errors.StoreUnavailable) else str(error)
    told = {"type": _kind(error), "message": message, "details": "", "extra_info": extra}
    return as_json({"error": told, "node_errors": {}}, status, headers)


def trouble() -> Response:
    return Response(_BARE, 500, {"Content-Type": "text/plain; charset=utf-8", "Connection": "close"})


def status_of(error: Exception) -> int:
    """By the most specific class that the table names."""
    return next((STATUS[cls] for cls in type(error).__mro__ if cls in STATUS), 500)


def _retry_after(error: Exception) -> int:
    return math.ceil(getattr(error, "retry_after", 0) or _RETRY_AFTER)


def _kind(error: Exception) -> str:
    """`NoWorker` → `no_worker`."""
    name = type(error).__name__
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))
