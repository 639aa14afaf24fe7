from __future__ import annotations

import json

import pytest
from starlette.responses import PlainTextResponse
from starlette.routing import Route, Router

from gateway.edge.folders import FolderList
from tests.servers import serve
from tests.wire import exchange

pytestmark = pytest.mark.anyio


class Lists:
    async def listed(self, type: str) -> list[str]:
        return [f"{type}-ü.png"]


async def test_outputs_and_temp_files_are_the_farms_and_the_rest_is_anothers() -> None:
    app = Router([Route("/internal/files/{type}", FolderList(Lists(), PlainTextResponse("otherwise")))])
    async with serve(app) as url:
        for type in ("output", "temp"):
            head, body = await exchange(url, f"GET /internal/files/{type} HTTP/1.1\r\nHost: g\r\n\r\n".encode())
            assert json.loads(body) == [f"{type}-ü.png"]
            assert head.get("content-type") == "application/json; charset=utf-8"
        for type in ("input", "models"):
            _, body = await exchange(url, f"GET /internal/files/{type} HTTP/1.1\r\nHost: g\r\n\r\n".encode())
            assert body == b"otherwise"
