"""/gateway/workers and /gateway/jobs: the gateway's own view, for its owner."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response

from gateway.domain.addresses import worker_address, worker_name
from gateway.domain.errors import BadRequest
from gateway.domain.ids import PromptId, WorkerName
from gateway.domain.labels import labels
from gateway.domain.ports import WorkerEntry
from gateway.edge.bodies import as_json, read_json
from gateway.flows.farm import Farm

T = TypeVar("T")


class AdminRoutes:
    def __init__(self, farm: Farm) -> None:
        self._farm = farm

    async def workers(self, request: Request) -> Response:
        return as_json({"workers": await self._farm.workers()})

    async def add(self, request: Request) -> Response:
        """Body: {"url": "http://…", "name": optional, "labels": optional list}."""
        body = await read_json(request)
        url = body.get("url") if isinstance(body, dict) else None
        if not isinstance(url, str):
            raise BadRequest("url must be the worker's address, like http://127.0.0.1:8188", field="url")
        address = _read("url", lambda: worker_address(url))
        name = _read("name", lambda: worker_name(str(given))) if (given := body.get("name")) else address.name
        labelled = _read("labels", lambda: labels(body.get("labels") or ()), "labels ")
        await self._farm.add(WorkerEntry(name, address.url, labels=labelled))
        return as_json(await self._farm.worker(name), 201)

    async def worker(self, request: Request) -> Response:
        return as_json(await self._farm.worker(_name(request)))

    async def remove(self, request: Request) -> Response:
        await self._farm.remove(_name(request))
        return Response(status_code=204)

    async def drain(self, request: Request) -> Response:
        await self._farm.drain(_name(request), True)
        return as_json(await self._farm.worker(_name(request)))

    async def resume(self, request: Request) -> Response:
        await self._farm.drain(_name(request), False)
        return as_json(await self._farm.worker(_name(request)))

    async def jobs(self, request: Request) -> Response:
        return as_json({"jobs": await self._farm.jobs()})

    async def job(self, request: Request) -> Response:
        return as_json(await self._farm.job(PromptId(request.path_params["prompt_id"])))


def _read(field: str, read: Callable[[], T], says: str = "") -> T:
    """What was read; a ValueError is a refusal of this field, its text behind `says`."""
    try:
        return read()
    except ValueError as error:
        raise BadRequest(f"{says}{error}", field=field) from error


def _name(request: Request) -> WorkerName:
    return WorkerName(request.path_params["name"])
