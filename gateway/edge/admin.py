"""/gateway/workers and /gateway/jobs: the gateway's own view, for its owner."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from gateway.domain.addresses import worker_addresses
from gateway.domain.errors import BadRequest
from gateway.domain.ids import PromptId, WorkerName
from gateway.domain.labels import labels
from gateway.domain.ports import WorkerEntry
from gateway.edge.bodies import as_json, read_json
from gateway.flows.farm import Farm


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
        name = body.get("name") or ""
        try:
            (address,) = worker_addresses([f"{name}={url}" if name else url])
        except ValueError as error:
            raise BadRequest(str(error), field="name" if name else "url") from error
        try:
            given = labels(body.get("labels") or ())
        except ValueError as error:
            raise BadRequest(f"labels {error}", field="labels") from error
        await self._farm.add(WorkerEntry(address.name, address.url, labels=given))
        return as_json(await self._farm.worker(address.name), 201)

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


def _name(request: Request) -> WorkerName:
    return WorkerName(request.path_params["name"])
