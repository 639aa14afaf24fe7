"""How a file that the farm keeps is sent. The same by a real farm is in tests/flows and tests/conformance."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from PIL import Image
from starlette.responses import Response

from gateway.adapters.blobs import ObjectBlobs, open_store
from gateway.adapters.relay import Relay
from gateway.domain.errors import NotFound
from gateway.domain.files.index import Kept
from gateway.domain.files.refs import FileRef
from gateway.domain.workers import Worker
from gateway.edge.kept import KeptView
from gateway.flows.kept_files import KeptFiles
from tests.edge.farm import up
from tests.servers import serve
from tests.wire import answering, worker

pytestmark = pytest.mark.anyio
AT = 1_700_000_000.0


class Files(KeptFiles):
    """Keeps what a test put there, without a state."""

    def __init__(self, blobs: ObjectBlobs) -> None:
        super().__init__(None, blobs)  # type: ignore[arg-type]
        self.index: dict[FileRef, Kept] = {}

    async def find(self, ref: FileRef) -> Kept | None:
        return self.index.get(ref)


async def one(data: bytes) -> AsyncIterator[bytes]:
    yield data


@asynccontextmanager
async def serving(folder: Path, files: Mapping[str, bytes], holder: Worker | None = None) -> AsyncIterator[str]:
    blobs = ObjectBlobs(open_store(str(folder)), "inputs")
    kept = Files(blobs)
    for name, data in files.items():
        blob = await blobs.put(one(data))
        kept.index[FileRef("input", name)] = Kept(blob.key, blob.digest, blob.size, AT)

    async def holds(ref: FileRef) -> Worker | None:
        return holder if ref.name == "own.png" else None

    async with (
        aiohttp.ClientSession() as session,
        Relay(session) as relay,
        serve(KeptView(kept, relay, holds, Response("otherwise", 404))) as url,
    ):
        yield url


async def ask(url: str, name: str, method: str = "GET", **headers: str) -> tuple[int, bytes, Mapping[str, str]]:
    given = {key.replace("_", "-"): value for key, value in headers.items()}
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, url, params={"filename": name, "type": "input"}, headers=given) as reply,
    ):
        return reply.status, await reply.read(), reply.headers


async def test_whole_part_and_head(tmp_path: Path) -> None:
    async with serving(tmp_path, {"x.png": b"0123456789", "none": b""}) as url:
        status, body, headers = await ask(url, "x.png")
        assert (status, body, headers["Content-Type"], headers["Content-Length"]) == (
            200,
            b"0123456789",
            "image/png",
            "10",
        )
        assert headers["Accept-Ranges"] == "bytes"
        assert headers["Content-Disposition"] == 'filename="x.png"'
        status, body, headers = await ask(url, "x.png", range="bytes=2-4")
        assert (status, body, headers["Content-Range"]) == (206, b"234", "bytes 2-4/10")
        status, body, headers = await ask(url, "x.png", "HEAD")
        assert (status, body, headers["Content-Length"]) == (200, b"", "10")
        status, body, headers = await ask(url, "x.png", range="bytes=10-")
        assert (status, body, headers["Content-Range"]) == (416, b"", "bytes */10")
        assert (await ask(url, "none"))[:2] == (200, b"")
        assert (await ask(url, "y.png"))[:2] == (404, b"otherwise")


async def test_what_the_client_has_is_not_sent_again(tmp_path: Path) -> None:
    async with serving(tmp_path, {"x.png": b"0123456789"}) as url:
        _, _, headers = await ask(url, "x.png")
        etag, date = headers["ETag"], headers["Last-Modified"]
        assert (await ask(url, "x.png", if_none_match=etag))[:2] == (304, b"")
        assert (await ask(url, "x.png", if_modified_since=date))[:2] == (304, b"")
        assert (await ask(url, "x.png", if_none_match='"other"', if_modified_since=date))[0] == 200
        assert (await ask(url, "x.png", range="bytes=0-0", if_range=etag))[0] == 206
        assert (await ask(url, "x.png", range="bytes=0-0", if_range=date))[0] == 206
        assert (await ask(url, "x.png", range="bytes=0-0", if_range='"other"'))[:2] == (200, b"0123456789")


async def test_conversions(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (1, 2, 3)).save(buffer, format="PNG")
    async with serving(tmp_path, {"x.png": buffer.getvalue()}) as url:
        status, body, headers = await ask(f"{url}?preview=jpeg;80", "x.png")
        assert (status, headers["Content-Type"], headers["Content-Disposition"]) == (
            200,
            "image/jpeg",
            'filename="x.png"',
        )
        assert Image.open(io.BytesIO(body)).format == "JPEG"


async def test_what_would_run_is_a_download(tmp_path: Path) -> None:
    async with serving(tmp_path, {"x.html": b"<script>", "x.svg": b"<svg/>"}) as url:
        for name in ("x.html", "x.svg"):
            _, _, headers = await ask(url, name)
            assert headers["Content-Type"] == "application/octet-stream"
            assert headers["Content-Disposition"] == f'attachment; filename="{name}"'
            assert headers["X-Content-Type-Options"] == "nosniff"
        assert (await ask(url, "x.svg", sec_fetch_dest="image"))[2]["Content-Type"] == "image/svg+xml"


async def test_what_only_a_worker_has_comes_from_there(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nown"
    async with worker(answering(answer)) as w, serving(tmp_path, {}, up("w", w)) as url:
        assert (await ask(url, "own.png"))[:2] == (200, b"own")


async def test_a_blob_that_is_lost_is_no_half_answer(tmp_path: Path) -> None:
    blobs = ObjectBlobs(open_store(str(tmp_path)), "inputs")
    files = Files(blobs)
    files.index[FileRef("input", "x")] = Kept("lost", "d", 3, AT)
    with pytest.raises(NotFound):
        async with files.open(FileRef("input", "x")):
            pass
    with pytest.raises(NotFound):
        async with files.open(FileRef("input", "y")):
            pass
