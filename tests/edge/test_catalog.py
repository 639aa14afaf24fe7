from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator

import pytest
from starlette.routing import Route, Router

from gateway.edge.catalog import CatalogRoutes
from gateway.edge.errors import Telling
from gateway.flows.catalog import Catalog
from gateway.flows.listings import Patience
from tests.flows.worker_reads import FakeReads
from tests.servers import serve
from tests.wire import exchange

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(20)]

METADATA = "/view_metadata/loras?filename=a.safetensors"


@pytest.fixture
async def url(anyio_backend: str) -> AsyncIterator[str]:
    reads = FakeReads(
        a={"/models": ["loras"], "/models/loras": [f"m{i}.safetensors" for i in range(2000)], METADATA: b"{}"}
    )
    reads.knows("a", "One", "Two")
    async with Catalog(reads, max_upload=7, patience=Patience(first=0.2)) as catalog:
        to = CatalogRoutes(catalog)
        routes = [
            Route("/object_info", to.object_info),
            Route("/object_info/{node_class:path}", to.node),
            Route("/embeddings", to.embeddings),
            Route("/models", to.models),
            Route("/models/{folder}", to.models),
            Route("/features", to.features),
            Route("/system_stats", to.system_stats),
            Route("/view_metadata/{folder_name}", to.view_metadata, methods=["GET", "POST"]),
        ]
        async with serve(Telling(Router(routes))) as url:
            yield url


def get(path: str, *headers: str, method: str = "GET", body: str = "") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: g", *headers, *([f"Content-Length: {len(body)}"] if body else [])]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/features", {"supports_preview_metadata": True, "max_upload_size": 7}),
        ("/models", ["loras"]),
        ("/object_info/Nope", {}),
        (METADATA, {}),
    ],
)
async def test_answers_are_json_with_a_tag(url: str, path: str, expected: object) -> None:
    head, body = await exchange(url, get(path))
    assert (head.status, json.loads(body)) == (200, expected)
    assert head.get("content-type") == "application/json; charset=utf-8"
    tag = head.get("etag")
    head, body = await exchange(url, get(path, f"If-None-Match: {tag}"))
    assert (head.status, body, head.get("etag")) == (304, b"", tag)
    head, _ = await exchange(url, get(path, 'If-None-Match: "other"'))
    assert head.status == 200
    head, _ = await exchange(url, get(path, method="HEAD"))
    assert (head.status, head.get("etag")) == (200, tag)


async def test_nodes_all_and_one(url: str) -> None:
    _, body = await exchange(url, get("/object_info"))
    assert list(json.loads(body)) == ["One", "Two"]
    _, body = await exchange(url, get("/object_info/Two"))
    assert list(json.loads(body)) == ["Two"]


async def test_large_answers_are_packed_for_those_who_take_it(url: str) -> None:
    plain, plain_body = await exchange(url, get("/models/loras"))
    packed, packed_body = await exchange(url, get("/models/loras", "Accept-Encoding: br, gzip"))
    assert plain.get("content-encoding") is None
    assert packed.get("content-encoding") == "gzip"
    assert gzip.decompress(packed_body) == plain_body
    assert packed.get("etag") == plain.get("etag")
    assert {head.get("vary") for head in (plain, packed)} == {"Accept-Encoding"}


async def test_what_is_not_there_is_an_empty_404(url: str) -> None:
    for path in ("/models/nope", "/view_metadata/loras", "/view_metadata/loras?filename=b.safetensors", "/embeddings"):
        head, body = await exchange(url, get(path))
        assert (path, head.status, body) == (path, 404, b"")


async def test_while_nothing_is_known_the_answer_is_503(url: str) -> None:
    head, _ = await exchange(url, get("/system_stats"))
    assert (head.status, head.get("retry-after")) == (503, "5")


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (METADATA, "", 200),
        ("/view_metadata/loras", '{"filename": "a.safetensors"}', 200),
        (METADATA, '{"filename": "b.safetensors"}', 200),
        ("/view_metadata/loras", '{"filename": "b.safetensors"}', 404),
        ("/view_metadata/loras", "[]", 404),
        ("/view_metadata/loras", "", 404),
        ("/view_metadata/loras", "{", 500),
        ("/view_metadata/loras", '{"filename": 1}', 400),
    ],
)
async def test_metadata_may_be_posted_for(url: str, path: str, body: str, status: int) -> None:
    head, _ = await exchange(url, get(path, method="POST", body=body))
    assert head.status == status
    if status == 200:
        head, _ = await exchange(url, get(path, f"If-None-Match: {head.get('etag')}", method="POST", body=body))
        assert head.status == 200
