"""The sockets of one worker: one queue of frames for all of them, sent one by one, as ComfyUI does.

A socket that does not read holds up all others, and the end of an old socket takes the registration of a newer
one of the same clientId with it: both are ComfyUI's behaviour, and what a gateway must live with.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import Callable
from typing import Any

from aiohttp import WSMsgType, web

from gateway.emulator.settings import EmulatorSettings

Frame = tuple[str, Any, Any]


class Hub:
    def __init__(self, flags: dict[str, Any], die: Callable[[int], object]) -> None:
        self._server_flags = flags
        self._die = die
        self._sockets: dict[str, web.WebSocketResponse] = {}
        self._flags: dict[str, Any] = {}
        self._frames: asyncio.Queue[tuple[str, Any, Any] | None] = asyncio.Queue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._publish(), name="emulator-publish")

    async def close(self) -> None:
        self._loop = None
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        for socket in list(self._sockets.values()):
            await socket.close(code=1001)

    def post(self, event: str, data: Any, sid: Any = None) -> None:
        """From any thread. `sid` None is everybody; bytes are sent as they are."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._frames.put_nowait, (event, data, sid))

    def wants_metadata(self, sid: Any) -> bool:
        flags = self._flags.get(sid) if isinstance(sid, str) else None
        return isinstance(flags, dict) and flags.get("supports_preview_metadata") is True

    async def _publish(self) -> None:
        while True:
            frame = await self._frames.get()
            if frame is None:
                return
            try:
                await self._send(*frame)
            except (TypeError, ValueError):
                # An unhashable client_id, or data that is no JSON: it ends ComfyUI's main task, and so the process.
                self._die(1)
                return

    async def _send(self, event: str, data: Any, sid: Any = None) -> None:
        if sid is None:
            for socket in list(self._sockets.values()):
                await _send_one(socket, event, data)
        elif sid in self._sockets:
            await _send_one(self._sockets[sid], event, data)

    async def serve(self, request: web.Request, welcome: Callable[[str], list[tuple[str, Any]]]) -> web.StreamResponse:
        """GET /ws. `welcome` tells what a new socket of that sid is told first."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        sid = request.query.get("clientId") or uuid.uuid4().hex
        self._sockets.pop(sid, None)
        self._sockets[sid] = socket
        self._flags[sid] = {}
        try:
            for event, data in welcome(sid):
                await self._send(event, data, sid)
            await self._listen(socket, sid)
        finally:
            self._sockets.pop(sid, None)
            self._flags.pop(sid, None)
        return socket

    async def _listen(self, socket: web.WebSocketResponse, sid: str) -> None:
        first = True
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            try:
                told = json.loads(message.data)
            except ValueError:
                continue
            if not isinstance(told, dict):
                continue
            if first and told.get("type") == "feature_flags":
                self._flags[sid] = told.get("data", {})
                await self._send("feature_flags", self._server_flags, sid)
            first = False


async def _send_one(socket: web.WebSocketResponse, event: str, data: Any) -> None:
    told = data if isinstance(data, bytes) else json.dumps({"type": event, "data": data})
    with contextlib.suppress(ConnectionError):
        await (socket.send_bytes(told) if isinstance(told, bytes) else socket.send_str(told))


def server_flags(settings: EmulatorSettings) -> dict[str, Any]:
    if not settings.is_new:
        return {"supports_preview_metadata": True, "max_upload_size": settings.max_upload_size}
    return {
        "supports_preview_metadata": True,
        "supports_model_type_tags": True,
        "max_upload_size": settings.max_upload_size,
        "extension": {"manager": {"supports_v4": True}},
        "node_replacements": True,
        "assets": False,
    }
