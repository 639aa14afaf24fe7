"""GET /view and the uploads, as bytes: a file comes from the worker that has it, never from one that might."""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

from gateway.domain.errors import NoWorker, WorkerRefused
from gateway.domain.ports.relay import Files, Homes, Wire
from gateway.domain.workers import Worker
from gateway.edge.carry import Incoming, carry, target_of


class View:
    """GET and HEAD /view, a raw ASGI app. Workers write the same names, so no other worker is ever asked."""

    def __init__(self, wire: Wire, homes: Homes, files: Files) -> None:
        self._wire = wire
        self._homes = homes
        self._files = files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        worker = await self._files.worker_of(scope["query_string"]) or await self._homes.home()
        await _only(self._wire, worker, scope, receive, send)


class Upload:
    """POST /upload/image and /upload/mask, a raw ASGI app: to the home worker."""

    def __init__(self, wire: Wire, homes: Homes) -> None:
        self._wire = wire
        self._homes = homes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _only(self._wire, await self._homes.home(), scope, receive, send)


async def _only(wire: Wire, worker: Worker | None, scope: Scope, receive: Receive, send: Send) -> None:
    if worker is None:
        raise NoWorker("the farm has no worker yet")
    try:
        await carry(wire, worker.url, target_of(scope), scope, Incoming(scope, receive), send)
    except WorkerRefused as exc:
        raise NoWorker(f"worker {worker.name} is away, and only it can answer this") from exc
