"""GET /view: a file, a preview of it, or one of its channels."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from aiohttp import web

from gateway.domain import media
from gateway.emulator.folders import Folders, Outside, within
from gateway.emulator.worker import Worker
from gateway.flows import pictures

UNSAFE_OLD = frozenset({"text/html", "text/html-sandboxed", "application/xhtml+xml", "text/javascript", "text/css"})


class Refused(Exception):
    def __init__(self, status: int) -> None:
        self.status = status


def routes(worker: Worker) -> list[web.RouteDef]:
    async def view(request: web.Request) -> web.StreamResponse:
        try:
            path = _find(worker.folders, request.query)
        except Refused as refused:
            return web.Response(status=refused.status)
        if pictures.is_asked_for(request.query):
            return await asyncio.to_thread(_converted, path, request.query)
        if worker.settings.is_new:
            return _modern(path, request.headers.get("Sec-Fetch-Dest"))
        kind = media.content_type(path.name)
        headers = {"Content-Disposition": f'filename="{path.name}"'}
        headers["Content-Type"] = "application/octet-stream" if kind in UNSAFE_OLD else kind
        return web.FileResponse(path, headers=headers)

    return [web.get("/view", view)]


def _find(folders: Folders, query: Mapping[str, str]) -> Path:
    """Only the last part of `filename` counts: folders belong into `subfolder`."""
    if "filename" not in query:
        raise Refused(404)
    name, folder = folders.annotated(query["filename"])
    if not name or name.startswith("/") or ".." in name:
        raise Refused(400)
    folder = folder or folders.kind(query.get("type", "output"))
    if folder is None:
        raise Refused(400)
    try:
        path = within(folder, query.get("subfolder", "")) / os.path.basename(name)
    except Outside:
        raise Refused(403) from None
    if not path.is_file():
        raise Refused(404)
    return path


def _converted(path: Path, query: Mapping[str, str]) -> web.Response:
    """Raises, for a 500, when the file is no picture."""
    with path.open("rb") as file:
        kind, data = pictures.converted(file, query)
    return web.Response(body=data, content_type=kind, headers={"Content-Disposition": f'filename="{path.name}"'})


def _modern(path: Path, destination: str | None) -> web.FileResponse:
    """0.38.1 lets nothing run in its own origin: what could is a download, but for an SVG inside an <img>."""
    kind = media.content_type(path.name)
    name = path.name.replace("\\", "\\\\").replace('"', '\\"')
    headers = {"X-Content-Type-Options": "nosniff", "Content-Disposition": f'filename="{name}"', "Content-Type": kind}
    if media.is_dangerous(kind):
        headers |= {"Vary": "Sec-Fetch-Dest", "Cache-Control": "no-store"}
        if not (kind == "image/svg+xml" and destination == "image"):
            headers |= {"Content-Type": "application/octet-stream"}
            headers |= {"Content-Disposition": f'attachment; filename="{name}"'}
    return web.FileResponse(path, headers=headers)
