"""The queue, the history, and what stops or frees."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from gateway.emulator.routes.bodies import given
from gateway.emulator.worker import Worker


def routes(worker: Worker) -> list[web.RouteDef]:
    queue = worker.queue

    async def get_queue(_: web.Request) -> web.Response:
        running, pending = queue.snapshot()
        return web.json_response(
            {"queue_running": [item[:5] for item in running], "queue_pending": [item[:5] for item in pending]}
        )

    async def post_queue(request: web.Request) -> web.Response:
        body = await request.json()
        if given(body, "clear", False):
            queue.clear()
        for prompt_id in given(body, "delete", ()):
            queue.delete(prompt_id)
        return web.Response()

    async def get_history(request: web.Request) -> web.Response:
        asked = {name: int(request.query[name]) for name in ("max_items", "offset") if name in request.query}
        return web.json_response(queue.history(**asked))

    async def get_record(request: web.Request) -> web.Response:
        return web.json_response(queue.record(request.match_info["prompt_id"]))

    async def post_history(request: web.Request) -> web.Response:
        body = await request.json()
        if given(body, "clear", False):
            queue.clear_history()
        for prompt_id in given(body, "delete", ()):
            queue.forget(prompt_id)
        return web.Response()

    async def post_interrupt(request: web.Request) -> web.Response:
        prompt_id = (await _tolerant(request)).get("prompt_id")
        if not prompt_id:
            worker.interrupt.set()
        else:
            queue.if_running(prompt_id, worker.interrupt.set)
        return web.Response()

    async def post_free(request: web.Request) -> web.Response:
        body = await request.json()
        for flag in ("unload_models", "free_memory"):
            if body.get(flag, False):
                queue.set_flag(flag, body[flag])
        return web.Response()

    return [
        web.get("/queue", get_queue),
        web.post("/queue", post_queue),
        web.get("/history", get_history),
        web.get("/history/{prompt_id}", get_record),
        web.post("/history", post_history),
        web.post("/interrupt", post_interrupt),
        web.post("/free", post_free),
    ]


async def _tolerant(request: web.Request) -> Any:
    """POST /interrupt alone forgives a body that is no JSON; one that is no object is a 500 here as well."""
    try:
        return await request.json()
    except json.JSONDecodeError:
        return {}
