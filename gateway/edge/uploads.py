"""POST /upload/image and /upload/mask as a raw ASGI app: the form is read while it comes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.edge.bodies import as_json
from gateway.edge.carry import ClientGone, Incoming
from gateway.edge.forms import read_form
from gateway.flows.uploads import Form, NothingUploaded, Uploads


class Upload:
    """`take` makes ComfyUI's reply of the form."""

    def __init__(self, uploads: Uploads, take: Callable[[Form], Awaitable[dict[str, str]]]) -> None:
        self._uploads = uploads
        self._take = take

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = Incoming(scope, receive).body
        try:
            form = await read_form(scope["headers"], body, self._uploads.keep, self._uploads.drop)
            response = as_json(await self._take(form))
        except ClientGone:
            return
        except NothingUploaded:
            response = Response(status_code=400)
        await response(scope, receive, send)
