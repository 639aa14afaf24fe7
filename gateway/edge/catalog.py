"""The routes of the catalogue: GET /object_info, /models, /embeddings, /extensions, /features, /system_stats …"""

from __future__ import annotations

import json

from starlette.requests import Request
from starlette.responses import Response

from gateway.domain.bodies import Body
from gateway.domain.errors import BadRequest, BrokenBody
from gateway.edge.headers import accepts_gzip, matches
from gateway.flows.catalog import Catalog

_TYPE = "application/json; charset=utf-8"


class CatalogRoutes:
    """Each method is an endpoint; path parameters are `node_class`, `folder` and `folder_name`."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def object_info(self, request: Request) -> Response:
        return _answer(request, await self._catalog.object_info())

    async def node(self, request: Request) -> Response:
        return _answer(request, await self._catalog.node(request.path_params["node_class"]))

    async def embeddings(self, request: Request) -> Response:
        return _answer(request, await self._catalog.embeddings())

    async def extensions(self, request: Request) -> Response:
        return _answer(request, await self._catalog.extensions())

    async def models(self, request: Request) -> Response:
        return _answer(request, await self._catalog.models(request.path_params.get("folder")))

    async def input_files(self, request: Request) -> Response:
        return _answer(request, await self._catalog.input_files())

    async def features(self, request: Request) -> Response:
        return _answer(request, self._catalog.features())

    async def system_stats(self, request: Request) -> Response:
        return _answer(request, self._catalog.system_stats())

    async def view_metadata(self, request: Request) -> Response:
        """GET takes the filename from the query; POST, which some documents name, from there or a JSON body."""
        filename = request.query_params.get("filename")
        if filename is None and request.method == "POST":
            filename = _filename(await request.body())
        return _answer(request, await self._catalog.metadata(request.path_params["folder_name"], filename))


def _filename(raw: bytes) -> str | None:
    if not raw:
        return None
    try:
        given = json.loads(raw)
    except ValueError as exc:
        raise BrokenBody("the body is no JSON") from exc
    filename = given.get("filename") if isinstance(given, dict) else None
    if filename is not None and not isinstance(filename, str):
        raise BadRequest("filename must be a string", field="filename")
    return filename


def _answer(request: Request, body: Body | None) -> Response:
    """`no-cache` lets a browser keep it, but ask each time whether it is still so."""
    if body is None:
        return Response(status_code=404)
    given = request.scope["headers"]
    headers = {"ETag": body.etag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if request.method in ("GET", "HEAD") and matches(given, body.etag):
        return Response(status_code=304, headers=headers)
    if body.packed is not None and accepts_gzip(given):
        return Response(body.packed, headers={**headers, "Content-Encoding": "gzip", "Content-Type": _TYPE})
    return Response(body.plain, headers={**headers, "Content-Type": _TYPE})
