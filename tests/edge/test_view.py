from __future__ import annotations

import pytest

from gateway.domain.callers import Caller
from gateway.domain.errors import NoWorker
from gateway.domain.files import OutputFile
from gateway.edge.callers import Callers
from gateway.edge.view import View
from gateway.flows.outputs import Place
from tests.edge.farm import Farm, gateway, told, up
from tests.wire import Head, answering, exchange, nobody, worker

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(20)]

A = b'HTTP/1.1 206 Partial Content\r\nETag: "e"\r\nX-Content-Type-Options: nosniff\r\nContent-Length: 1\r\n\r\na'
B = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb"
NAME = "x~a.png"


class Known:
    """One file in the farm, by its name there; `workers` have it."""

    def __init__(self, *urls: str, name: str = NAME) -> None:
        self.workers = [up(f"w{number}", url) for number, url in enumerate(urls)]
        self.name = name
        self.asked: list[tuple[OutputFile, Caller]] = []

    async def find(self, file: OutputFile, caller: Caller) -> Place | None:
        self.asked.append((file, caller))
        if file.filename == "away.png":
            raise NoWorker("away")
        found = file.filename == self.name
        return Place(self.name, OutputFile(file.type, file.subfolder, "x.png"), self.workers) if found else None


async def view(known: Known, target: str, *headers: str, method: str = "GET") -> tuple[Head, bytes]:
    lines = [f"{method} {target} HTTP/1.1", "Host: g", *headers, "", ""]
    async with gateway(lambda wire: View(wire, Farm(), known, Callers())) as url:
        return await exchange(url, "\r\n".join(lines).encode())


async def test_a_file_is_asked_of_its_worker_by_the_name_it_has_there() -> None:
    seen: list[Head] = []
    async with worker(answering(A, seen=seen)) as a:
        known = Known(a)
        target = f"/api/view?filename={NAME}&type=temp&subfolder=s&rand=1&preview=webp&client_id=me"
        head, body = await view(known, target, "Range: bytes=0-0", 'If-None-Match: "f"')
    assert (head.status, body, head.get("etag")) == (206, b"a", '"e"')
    assert head.get("content-disposition") == f'filename="{NAME}"'
    assert seen[0].target == "/view?filename=x.png&type=temp&subfolder=s&preview=webp"
    assert (seen[0].get("range"), seen[0].get("if-none-match")) == ("bytes=0-0", '"f"')
    [(file, caller)] = known.asked
    assert file == OutputFile("temp", "s", NAME)
    assert (caller.client_id, caller.peer) == ("me", "127.0.0.1")


async def test_a_head_has_what_a_get_has() -> None:
    seen: list[Head] = []
    empty = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 5\r\n\r\n"
    async with worker(answering(empty, seen=seen)) as a:
        head, body = await view(Known(a), f"/view?filename={NAME}", method="HEAD")
    assert (head.status, body, head.get("content-length")) == (200, b"", "5")
    assert (head.get("content-disposition"), seen[0].line.split()[0]) == (f'filename="{NAME}"', "HEAD")


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 404),
        ("?filename=", 400),
        ("?filename=/x", 400),
        ("?filename=x.png&subfolder=..", 403),
        ("?filename=no.png", 404),
        ("?filename=x.png&type=bad", 400),
    ],
)
async def test_what_is_not_shown(query: str, status: int) -> None:
    head, body = await view(Known(), "/view" + query)
    assert (head.status, body, head.get("cache-control")) == (status, b"", None)


async def test_one_that_is_away_is_no_404() -> None:
    head, body = await view(Known(), "/view?filename=away.png")
    assert (head.status, told(body)) == (503, ("no_worker", "away"))
    head, body = await view(Known(nobody()), f"/view?filename={NAME}")
    assert (head.status, told(body)[0]) == (503, "no_worker")
    assert "w0" in told(body)[1]


async def test_of_several_that_have_it_the_first_that_can_be_reached_is_asked() -> None:
    async with worker(answering(B)) as b:
        head, body = await view(Known(nobody(), b), f"/view?filename={NAME}")
    assert (head.status, body) == (200, b"b")


async def test_a_404_of_a_worker_is_not_kept_by_caches() -> None:
    gone = b"HTTP/1.1 404 Not Found\r\nCache-Control: public, max-age=3600\r\nContent-Length: 0\r\n\r\n"
    async with worker(answering(gone)) as a:
        head, _ = await view(Known(a), f"/view?filename={NAME}")
    assert (head.status, head.get("cache-control")) == (404, None)


def told_as(kind: str, name: str = "x") -> bytes:
    said = f'HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Disposition: filename="{name}"\r\nContent-Length: 1\r\n'
    return (said + "Cache-Control: private\r\n\r\nb").encode()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("x~a.html", "text/html"),
        ("x~a.svg", "image/svg+xml"),
        ("x~a.js", "application/javascript"),
        ("x~a.xml", "text/xml"),
        ("x~a.css", "application/octet-stream"),
        ("x~a.mht", "text/plain"),
        ("x~a", "text/html; charset=utf-8"),
    ],
)
async def test_what_a_browser_would_run_leaves_as_an_attachment_whatever_the_worker_says(name: str, kind: str) -> None:
    async with worker(answering(told_as(kind))) as a:
        head, body = await view(Known(a, name=name), f"/view?filename={name}", "Sec-Fetch-Dest: document")
    assert (head.get("content-type"), body) == ("application/octet-stream", b"b")
    if name != "x~a":
        assert head.get("content-disposition") == f'attachment; filename="{name}"'
        assert (head.get("vary"), head.get("cache-control")) == ("Sec-Fetch-Dest", "no-store")
    assert head.get("x-content-type-options") == "nosniff"


async def test_a_drawing_may_be_shown_inside_a_page() -> None:
    name = "x~a.svg"
    async with worker(answering(told_as("application/octet-stream"))) as a:
        head, _ = await view(Known(a, name=name), f"/view?filename={name}", "Sec-Fetch-Dest: image")
    assert (head.get("content-type"), head.get("content-disposition")) == ("image/svg+xml", f'filename="{name}"')
    assert (head.get("cache-control"), head.get("x-content-type-options")) == ("no-store", "nosniff")


async def test_a_picture_made_of_a_file_is_no_such_file() -> None:
    async with worker(answering(told_as("image/webp"))) as a:
        head, _ = await view(Known(a, name="x~a.svg"), "/view?filename=x~a.svg&preview=webp")
    assert (head.get("content-type"), head.get("content-disposition")) == ("image/webp", 'filename="x~a.svg"')


async def test_a_name_ends_neither_its_header_nor_its_quotes() -> None:
    name = 'a"b\r\nSet-Cookie: c~a.png'
    async with worker(answering(told_as("image/png"))) as a:
        head, _ = await view(Known(a, name=name), "/view?filename=a%22b%0D%0ASet-Cookie:%20c~a.png")
    assert head.get("content-disposition") == 'filename="a\\"b  Set-Cookie: c~a.png"'
    assert head.get("set-cookie") is None
