"""GET /view: a file, a preview of it, or one of its channels."""

from __future__ import annotations

import asyncio
import io
import mimetypes
import os
from collections.abc import Mapping
from pathlib import Path

from aiohttp import web
from PIL import Image

from gateway.emulator.folders import Folders, Outside, within
from gateway.emulator.worker import Worker

UNSAFE_OLD = frozenset({"text/html", "text/html-sandboxed", "application/xhtml+xml", "text/javascript", "text/css"})
UNSAFE_NEW = UNSAFE_OLD | {
    "application/javascript",
    "application/x-javascript",
    "application/ecmascript",
    "message/rfc822",
}


class Refused(Exception):
    def __init__(self, status: int) -> None:
        self.status = status


def routes(worker: Worker) -> list[web.RouteDef]:
    async def view(request: web.Request) -> web.StreamResponse:
        try:
            path = _find(worker.folders, request.query)
        except Refused as refused:
            return web.Response(status=refused.status)
        if "preview" in request.query or request.query.get("channel") in ("rgb", "a"):
            return await asyncio.to_thread(_converted, path, request.query)
        if worker.settings.is_new:
            return _modern(path, request.headers.get("Sec-Fetch-Dest"))
        kind = guess(path.name)
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
    with Image.open(path) as image:
        if "preview" in query:
            form, data = _preview(image, query)
        else:
            form, data = "png", _channel(image, query["channel"])
    headers = {"Content-Disposition": f'filename="{path.name}"'}
    return web.Response(body=data, content_type=f"image/{form}", headers=headers)


def _preview(image: Image.Image, query: Mapping[str, str]) -> tuple[str, bytes]:
    form, *rest = query["preview"].split(";")
    channel = query.get("channel", "")
    if form not in ("webp", "jpeg") or "a" in channel:
        form = "webp"
    last = rest[-1] if rest else form
    shown = image.convert("RGB") if form == "jpeg" or channel == "rgb" else image
    return form, _encoded(shown, form, quality=int(last) if last.isdigit() else 90)


def _channel(image: Image.Image, channel: str) -> bytes:
    if channel == "rgb":
        return _encoded(image.convert("RGB"), "png")
    alpha = image.getchannel("A") if image.mode == "RGBA" else Image.new("L", image.size, 255)
    shown = Image.new("RGBA", image.size)
    shown.putalpha(alpha)
    return _encoded(shown, "png")


def _encoded(image: Image.Image, form: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=form, **options)
    return buffer.getvalue()


def _modern(path: Path, destination: str | None) -> web.FileResponse:
    """0.38.1 lets nothing run in its own origin: what could is a download, but for an SVG inside an <img>."""
    kind = guess(path.name)
    name = path.name.replace("\\", "\\\\").replace('"', '\\"')
    headers = {"X-Content-Type-Options": "nosniff", "Content-Disposition": f'filename="{name}"', "Content-Type": kind}
    if is_unsafe(kind):
        headers |= {"Vary": "Sec-Fetch-Dest", "Cache-Control": "no-store"}
        if not (kind == "image/svg+xml" and destination == "image"):
            headers |= {"Content-Type": "application/octet-stream"}
            headers |= {"Content-Disposition": f'attachment; filename="{name}"'}
    return web.FileResponse(path, headers=headers)


def is_unsafe(kind: str) -> bool:
    kind = kind.partition(";")[0]
    return kind in UNSAFE_NEW or kind.endswith(("+xml", "/xml"))


def guess(name: str) -> str:
    """The content type by extension; ComfyUI adds two to what Python knows."""
    if name.endswith(".webp"):
        return "image/webp"
    if name.endswith(".js"):
        return "application/javascript; charset=utf-8"
    return mimetypes.guess_type(name)[0] or "application/octet-stream"
