"""The one user, and the settings that the frontend keeps on the server."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

from aiohttp import web

from gateway.emulator.folders import Folders
from gateway.emulator.worker import Worker


def routes(worker: Worker) -> list[web.RouteDef]:
    folders, users = worker.folders, {"default": "default"}

    async def get_users(_: web.Request) -> web.Response:
        return web.json_response({"storage": "server", "migrated": (folders.user / "default").exists()})

    async def post_users(request: web.Request) -> web.Response:
        body = await request.json()
        if worker.settings.is_new and not str(body["username"]).strip():
            return web.json_response({"error": "username not provided"}, status=400)
        return _add_user(users, body["username"])

    async def get_settings(_: web.Request) -> web.Response:
        return web.json_response(_read(folders))

    async def get_setting(request: web.Request) -> web.Response:
        return web.json_response(_read(folders).get(request.match_info["id"]))

    async def post_settings(request: web.Request) -> web.Response:
        _write(folders, {**_read(folders), **await request.json()})
        return web.Response()

    async def post_setting(request: web.Request) -> web.Response:
        settings = _read(folders)
        settings[request.match_info["id"]] = await request.json()
        _write(folders, settings)
        return web.Response()

    return [
        web.get("/users", get_users),
        web.post("/users", post_users),
        web.get("/settings", get_settings),
        web.post("/settings", post_settings),
        web.get("/settings/{id}", get_setting),
        web.post("/settings/{id}", post_setting),
    ]


def _add_user(users: dict[str, str], name: str) -> web.Response:
    if name in users.values():
        return web.json_response({"error": "Duplicate username."}, status=400)
    if not name.strip():
        raise ValueError("username not provided")
    user_id = re.sub("[^a-zA-Z0-9-_]+", "-", name.strip()) + f"_{uuid.uuid4()}"
    users[user_id] = name.strip()
    return web.json_response(user_id)


def _read(folders: Folders) -> dict[str, Any]:
    path = folders.user / "default" / "comfy.settings.json"
    path.parent.mkdir(exist_ok=True)
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found


def _write(folders: Folders, settings: dict[str, Any]) -> None:
    (folders.user / "default" / "comfy.settings.json").write_text(json.dumps(settings, indent=4))
