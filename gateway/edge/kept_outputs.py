"""Outputs of which the farm has copies of its own: sent from the blob store, or from where that says."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from gateway.domain.files import Asked
from gateway.domain.files.index import Kept
from gateway.domain.media import content_type, disposition, is_dangerous
from gateway.domain.ports.blobs import Blobs
from gateway.edge.carry import Until
from gateway.edge.headers import written
from gateway.edge.kept import Stored, send_stored
from gateway.flows.kept_files import KeptFiles

_SIGNED_FOR = 300.0


@dataclass(frozen=True, slots=True)
class KeptOutputs:
    """`redirect`: clients fetch whole files from the store themselves, where it gives out URLs."""

    files: KeptFiles
    blobs: Blobs
    redirect: bool

    async def send(self, name: str, kept: Kept, query: Asked, scope: Scope, receive: Receive, send: Send) -> None:
        async with Until(scope):
            if query.converted:
                kind, data = await self.files.converted(kept, dict(query.how))
                about = {"content-type": kind, "content-disposition": written(disposition(name)).decode("latin-1")}
                await Response(data, headers=about)(scope, receive, send)
            elif scope["method"] == "GET" and (url := await self._url(name, kept)):
                await RedirectResponse(url, 307, {"Cache-Control": "no-store"})(scope, receive, send)
            else:
                file = Stored(
                    name, kept.digest, kept.size, kept.at, lambda start, end: self.blobs.open(kept.blob, start, end)
                )
                await send_stored(file, scope, send)

    async def _url(self, name: str, kept: Kept) -> str | None:
        """Not for what a browser would run: there are rules for it that no store knows."""
        if not self.redirect or is_dangerous(content_type(name)):
            return None
        return await self.blobs.url(kept.blob, _SIGNED_FOR)
