"""The user's own files: workflows, templates, css. A file is one path segment, its slashes encoded as %2F."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from gateway.domain import media
from gateway.emulator.folders import Outside, within
from gateway.emulator.worker import Worker


class Refused(Exception):
    def __init__(self, status: int, text: str | None = None) -> None:
        self.response = web.Response(status=status, text=text)


class UserFiles:
    """The folder of the one user."""

    def __init__(self, worker: Worker) -> None:
        self.root = worker.folders.user / "default"
        self.is_new = worker.settings.is_new

    def path(self, name: str) -> Path:
        """Makes the folder that the file is, or will be, in; raises Outside."""
        path = within(self.root, unquote(name) if "%" in name else name)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def named(self, request: web.Request, part: str = "file") -> Path:
        try:
            return self.path(request.match_info[part])
        except Outside:
            raise Refused(403) from None

    def existing(self, request: web.Request) -> Path:
        path = self.named(request)
        if not path.exists():
            raise Refused(404)
        return path

    def described(self, path: Path, root: Path) -> dict[str, Any]:
        """Times in seconds for 0.3.64, in whole milliseconds for 0.38.1."""
        stat = path.stat()
        times = {"modified": stat.st_mtime, "created": stat.st_ctime}
        if self.is_new:
            times = {name: int(value * 1000) for name, value in times.items()}
        return {"path": path.relative_to(root).as_posix(), "size": stat.st_size, **times}

    def told(self, request: web.Request, path: Path) -> web.Response:
        full = request.query.get("full_info", "false").lower() == "true"
        return web.json_response(self.described(path, self.root) if full else path.relative_to(self.root).as_posix())

    def listed(self, query: Any) -> list[Any]:
        if not query.get("dir"):
            raise Refused(400, "Directory not provided")
        try:
            folder = self.path(query["dir"])
        except Outside:
            raise Refused(403, "Invalid directory") from None
        if not folder.exists():
            raise Refused(404, "Directory not found")
        asked = {name: query.get(name, "").lower() == "true" for name in ("recurse", "full_info", "split")}
        files = [path for path in _visible(folder, deep=asked["recurse"]) if path.is_file()]
        if asked["full_info"]:
            return [self.described(path, folder) for path in files]
        names = [path.relative_to(folder).as_posix() for path in files]
        return [[name, *name.split("/")] for name in names] if asked["split"] else names

    def tree(self, name: str) -> list[dict[str, Any]]:
        try:
            top = within(self.root, unquote(name))
        except Outside:
            raise Refused(400, "Invalid path requested") from None
        if not top.exists():
            if top == self.root:
                return []
            raise Refused(404, "Requested path not found")
        if not top.is_dir():
            raise Refused(400, "Requested path is not a directory")
        entries = [self._entry(path) for path in sorted(top.rglob("*"))]
        return sorted(entries, key=lambda entry: (entry["type"] != "directory", entry["name"].lower()))

    def _entry(self, path: Path) -> dict[str, Any]:
        entry: dict[str, Any] = {"name": path.name, "path": path.relative_to(self.root).as_posix(), "type": "directory"}
        if path.is_file():
            entry |= {"type": "file", "size": path.stat().st_size, "modified": path.stat().st_mtime}
        return entry


def routes(worker: Worker) -> list[web.RouteDef]:
    files = UserFiles(worker)

    async def listed(request: web.Request) -> web.Response:
        return web.json_response(files.listed(request.query))

    async def tree(request: web.Request) -> web.Response:
        return web.json_response(files.tree(request.query.get("path", "")))

    async def get(request: web.Request) -> web.FileResponse:
        path = files.existing(request)
        return web.FileResponse(path, headers=_safe_headers(path, files.root) if files.is_new else None)

    async def post(request: web.Request) -> web.Response:
        path = _free(request, files.named(request))
        data = await request.read()
        try:
            path.write_bytes(data)
        except OSError:
            raise Refused(400) from None
        return files.told(request, path)

    async def delete(request: web.Request) -> web.Response:
        os.remove(files.existing(request))
        return web.Response(status=204)

    async def move(request: web.Request) -> web.Response:
        source, target = files.existing(request), _free(request, files.named(request, "dest"))
        shutil.move(source, target)
        return files.told(request, target)

    handlers: list[tuple[str, str, Any]] = [
        ("GET", "/userdata", listed),
        ("GET", "/v2/userdata", tree),
        ("GET", "/userdata/{file}", get),
        ("POST", "/userdata/{file}", post),
        ("DELETE", "/userdata/{file}", delete),
        ("POST", "/userdata/{file}/move/{dest}", move),
    ]
    return [web.RouteDef(method, path, _answering(handler), {}) for method, path, handler in handlers]


def _answering(handler: Any) -> Any:
    async def answered(request: web.Request) -> web.StreamResponse:
        try:
            response: web.StreamResponse = await handler(request)
        except Refused as refused:
            return refused.response
        return response

    return answered


def _free(request: web.Request, path: Path) -> Path:
    if request.query.get("overwrite", "true") == "false" and path.exists():
        raise Refused(409, "File already exists")
    return path


def _visible(folder: Path, *, deep: bool) -> Iterator[Path]:
    """Without hidden ones, as a glob finds them."""
    for path in sorted(folder.rglob("*") if deep else folder.glob("*")):
        if not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield path


def _safe_headers(path: Path, root: Path) -> dict[str, str]:
    """0.38.1 lets no user file but user.css be shown in its own origin."""
    headers = {"X-Content-Type-Options": "nosniff"}
    if path == root / "user.css":
        return {**headers, "Content-Type": "text/css", "Content-Disposition": "inline"}
    kind = media.content_type(path.name)
    kind = "application/octet-stream" if media.is_dangerous(kind) else kind
    return {**headers, "Content-Type": kind, "Content-Disposition": "attachment"}
