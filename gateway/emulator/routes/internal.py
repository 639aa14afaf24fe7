"""/internal/*: what the frontend uses for itself; it has no /api twin."""

from __future__ import annotations

from aiohttp import web

from gateway.emulator.folders import KINDS
from gateway.emulator.worker import Worker


def build(worker: Worker) -> web.Application:
    async def logs(_: web.Request) -> web.Response:
        return web.json_response("".join(f"{entry['t']} - {entry['m']}" for entry in worker.logs))

    async def raw_logs(_: web.Request) -> web.Response:
        return web.json_response({"entries": list(worker.logs), "size": {"cols": 80, "rows": 24}})

    async def subscribe(request: web.Request) -> web.Response:
        body = await request.json()
        change = worker.log_readers.add if body["enabled"] else worker.log_readers.discard
        change(body["clientId"])
        return web.Response()

    async def folder_paths(_: web.Request) -> web.Response:
        root = worker.folders.root / "models"
        return web.json_response({name: [str(root / name)] for name in worker.listing.folders})

    async def files(request: web.Request) -> web.Response:
        kind = request.match_info["kind"]
        if kind not in KINDS:
            return web.json_response({"error": "Invalid directory type"}, status=400)
        names = worker.folders.newest(kind)
        if worker.settings.is_new:
            names = [f"{name} [{kind}]" for name in names if not name.startswith(".")]
        return web.json_response(names)

    app = web.Application()
    app.add_routes(
        [
            web.get("/logs", logs),
            web.get("/logs/raw", raw_logs),
            web.patch("/logs/subscribe", subscribe),
            web.get("/folder_paths", folder_paths),
            web.get("/files/{kind}", files),
        ]
    )
    return app
