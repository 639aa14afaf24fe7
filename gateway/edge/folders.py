"""GET /internal/files/{type}: what the frontend offers of outputs and temp files."""

from __future__ import annotations

from typing import Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.domain.files import WRITTEN
from gateway.edge.bodies import as_json


class Lists(Protocol):
    async def listed(self, type: str) -> list[str]: ...


class FolderList:
    """A raw ASGI app; other types are for `otherwise`."""

    def __init__(self, folders: Lists, otherwise: ASGIApp) -> None:
        self._folders = folders
        self._otherwise = otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        type = scope["path_params"]["type"]
        if type in WRITTEN:
            await as_json(await self._folders.listed(type), 200)(scope, receive, send)
        else:
            await self._otherwise(scope, receive, send)
