"""The composition root of one emulated worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from importlib import resources
from pathlib import Path

from aiohttp import web

from gateway.emulator import routes
from gateway.emulator.middleware import cache_control, door
from gateway.emulator.settings import EmulatorSettings
from gateway.emulator.worker import Worker

WORKER = web.AppKey("worker", Worker)


def build(settings: EmulatorSettings) -> web.Application:
    """A worker that lives as long as the application runs; tests reach it by `app[WORKER]`."""
    worker = Worker(settings)
    app = web.Application(
        client_max_size=settings.max_upload_size, middlewares=[cache_control, door(is_new=settings.is_new)]
    )
    app[WORKER] = worker
    page = Path(str(resources.files("gateway.emulator").joinpath("web")))
    caching = "no-store, must-revalidate" if settings.is_new else "no-cache"

    async def root(_: web.Request) -> web.FileResponse:
        headers = {"Cache-Control": caching, "Pragma": "no-cache", "Expires": "0"}
        return web.FileResponse(page / "index.html", headers=headers)

    async def alive(_: web.Application) -> AsyncIterator[None]:
        worker.open()
        yield
        await worker.close()

    async def say_goodbye(_: web.Application) -> None:
        await worker.hub.close()

    app.cleanup_ctx.append(alive)
    app.on_shutdown.append(say_goodbye)
    routes.install(app, worker)
    app.add_routes([web.get("/", root), web.get("/api/", root), web.static("/", page)])
    return app
