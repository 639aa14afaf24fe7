from __future__ import annotations

import pytest

from gateway.domain.workers import Worker
from gateway.edge.view import Upload, View
from tests.edge.farm import Farm, gateway, told, up
from tests.wire import Head, answering, exchange, nobody, worker

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(20)]

A = b'HTTP/1.1 206 Partial Content\r\nETag: "e"\r\nX-Content-Type-Options: nosniff\r\nContent-Length: 1\r\n\r\na'
B = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb"


class Known:
    """Files that one worker is known to have."""

    def __init__(self, worker: Worker, filename: bytes) -> None:
        self.worker = worker
        self.filename = filename

    async def worker_of(self, query: bytes) -> Worker | None:
        return self.worker if b"filename=" + self.filename in query else None


async def test_a_file_comes_from_its_worker_else_from_the_home() -> None:
    seen: list[Head] = []
    async with worker(answering(A, seen=seen)) as a, worker(answering(B)) as b:
        farm = Farm(up("a", a), up("b", b))
        async with gateway(lambda wire: View(wire, farm, Known(farm.workers[1], b"b.png"))) as url:
            _, body = await exchange(url, b"GET /view?filename=b.png HTTP/1.1\r\nHost: g\r\n\r\n")
            assert body == b"b"
            get = b"GET /api/view?filename=x%2Fy&rand=1 HTTP/1.1\r\nHost: g\r\nRange: bytes=0-0\r\n\r\n"
            head, body = await exchange(url, get)
    assert (head.status, body, head.get("x-content-type-options"), head.get("etag")) == (206, b"a", "nosniff", '"e"')
    assert (seen[0].target, seen[0].get("range")) == ("/api/view?filename=x%2Fy&rand=1", "bytes=0-0")


async def test_no_other_worker_gives_a_file_of_that_name() -> None:
    seen: list[Head] = []
    async with worker(answering(A, seen=seen)) as a:
        farm = Farm(up("a", a), up("b", nobody()))
        async with gateway(lambda wire: View(wire, farm, Known(farm.workers[1], b"b.png"))) as url:
            _, body = await exchange(url, b"GET /view?filename=b.png HTTP/1.1\r\nHost: g\r\n\r\n")
    assert told(body) == ("no_worker", "worker b is away, and only it can answer this")
    assert seen == []


async def test_an_upload_goes_to_the_home_worker_or_nowhere() -> None:
    upload = b"POST /upload/image HTTP/1.1\r\nHost: g\r\nContent-Length: 3\r\n\r\npng"
    seen: list[Head] = []
    async with worker(answering(B, seen=seen)) as b:
        async with gateway(lambda wire: Upload(wire, Farm(up("b", b)))) as url:
            _, body = await exchange(url, upload)
        assert (body, seen.pop().line) == (b"b", "POST /upload/image HTTP/1.1")
        for farm in (Farm(up("a", nobody()), up("b", b)), Farm()):
            async with gateway(lambda wire, farm=farm: Upload(wire, farm)) as url:  # type: ignore[misc]
                _, body = await exchange(url, upload)
            assert told(body)[0] == "no_worker"
    assert seen == []
