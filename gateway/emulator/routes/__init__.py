"""All routes of the emulated worker, and their `/api` twins."""

from __future__ import annotations

from collections.abc import Iterator

from aiohttp import web

from gateway.emulator.routes import files, info, internal, jobs, prompts, queue, settings, userdata, view
from gateway.emulator.worker import Worker


def install(app: web.Application, worker: Worker) -> None:
    routes = list(_own(worker))
    app.add_routes(web.RouteDef(route.method, "/api" + route.path, route.handler, route.kwargs) for route in routes)
    app.add_routes(routes)
    if worker.settings.is_new:
        app.add_routes(jobs.routes(worker))
    app.add_subapp("/internal", internal.build(worker))


def _own(worker: Worker) -> Iterator[web.RouteDef]:
    for part in (prompts, queue, files, view, info, settings, userdata):
        yield from part.routes(worker)
