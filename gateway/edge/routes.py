"""Every route there is. What is not listed here goes to the home worker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from starlette.types import ASGIApp

from gateway.edge.admin import AdminRoutes
from gateway.edge.catalog import CatalogRoutes
from gateway.edge.events import EventRoutes
from gateway.edge.folders import FolderList
from gateway.edge.jobs import JobRoutes
from gateway.edge.ops import OpsRoutes
from gateway.edge.passthrough import Passthrough
from gateway.edge.prompt import PromptRoutes
from gateway.edge.queue import QueueRoutes
from gateway.edge.socket import Socket
from gateway.edge.table import Row, Table


@dataclass(frozen=True, slots=True)
class Endpoints:
    prompt: PromptRoutes
    queue: QueueRoutes
    jobs: JobRoutes
    catalog: CatalogRoutes
    view: ASGIApp
    upload: ASGIApp
    mask: ASGIApp
    folders: FolderList
    admin: AdminRoutes
    ops: OpsRoutes
    passthrough: Passthrough
    socket: Socket
    events: EventRoutes


def router(to: Endpoints) -> Table:
    rows = [*_twins([*_comfyui(to), *_only_posted(to)]), *_comfyui_once(to), *_gateway(to)]
    return Table(rows, dict.fromkeys(("/ws", "/api/ws"), to.socket), to.passthrough)


def _comfyui(to: Endpoints) -> list[Row]:
    """Served with and without /api in front."""
    return [
        ("GET", "/prompt", to.prompt.get),
        ("POST", "/prompt", to.prompt.post),
        ("GET", "/queue", to.queue.queue),
        ("POST", "/queue", to.queue.edit_queue),
        ("GET", "/history", to.queue.history),
        ("GET", "/history/{prompt_id:path}", to.queue.history_of),
        ("POST", "/history", to.queue.edit_history),
        ("GET", "/interrupt", to.queue.interrupt),
        ("POST", "/interrupt", to.queue.interrupt),
        ("GET", "/view", to.view),
        ("GET", "/system_stats", to.catalog.system_stats),
        ("GET", "/object_info", to.catalog.object_info),
        ("GET", "/object_info/{node_class:path}", to.catalog.node),
        ("GET", "/embeddings", to.catalog.embeddings),
        ("GET", "/extensions", to.catalog.extensions),
        ("GET", "/models", to.catalog.models),
        ("GET", "/models/{folder}", to.catalog.models),
        ("GET", "/view_metadata/{folder_name}", to.catalog.view_metadata),
        ("POST", "/view_metadata/{folder_name}", to.catalog.view_metadata),
        ("GET", "/features", to.catalog.features),
    ]


def _only_posted(to: Endpoints) -> list[Row]:
    """In ComfyUI the static files own GET of every path; its clients probe by that 404."""
    posted = [("/free", to.queue.free), ("/upload/image", to.upload), ("/upload/mask", to.mask)]
    return [row for path, endpoint in posted for row in (("GET", path, to.passthrough), ("POST", path, endpoint))]


def _comfyui_once(to: Endpoints) -> list[Row]:
    """Served under one path only."""
    return [
        ("GET", "/internal/files/input", to.catalog.input_files),
        ("GET", "/internal/files/{type}", to.folders),
        ("GET", "/api/jobs", to.jobs.listed),
        ("POST", "/api/jobs/cancel", to.jobs.cancel_many),
        ("GET", "/api/jobs/{job_id}", to.jobs.one),
        ("POST", "/api/jobs/{job_id}/cancel", to.jobs.cancel),
    ]


def _gateway(to: Endpoints) -> list[Row]:
    return [
        ("GET", "/healthz", to.ops.healthz),
        ("GET", "/readyz", to.ops.readyz),
        ("GET", "/metrics", to.ops.metrics),
        ("GET", "/gateway/workers", to.admin.workers),
        ("POST", "/gateway/workers", to.admin.add),
        ("GET", "/gateway/workers/{name}", to.admin.worker),
        ("DELETE", "/gateway/workers/{name}", to.admin.remove),
        ("POST", "/gateway/workers/{name}/drain", to.admin.drain),
        ("POST", "/gateway/workers/{name}/resume", to.admin.resume),
        ("GET", "/gateway/jobs", to.admin.jobs),
        ("GET", "/gateway/jobs/{prompt_id:path}/events", to.events.stream),
        ("GET", "/gateway/jobs/{prompt_id:path}", to.admin.job),
    ]


def _twins(rows: list[Row]) -> Iterator[Row]:
    for method, path, endpoint in rows:
        yield method, path, endpoint
        yield method, "/api" + path, endpoint
