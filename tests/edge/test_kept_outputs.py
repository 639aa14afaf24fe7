"""Kept outputs at the edge: where the store gives out URLs, clients are sent there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.domain.files import OutputFile
from gateway.domain.files.index import Kept
from gateway.edge.callers import Callers
from gateway.edge.kept_outputs import KeptOutputs
from gateway.edge.view import View
from gateway.flows.kept_files import KeptFiles
from gateway.flows.outputs import Place
from tests.edge.farm import Farm, gateway
from tests.wire import Head, exchange

pytestmark = pytest.mark.anyio


class Store:
    """A blob store of one blob."""

    def __init__(self, url: str | None) -> None:
        self._url = url

    @asynccontextmanager
    async def open(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"hello"[start:end]

        yield chunks()

    async def url(self, key: str, seconds: float) -> str | None:
        return self._url


class Known:
    async def find(self, file: OutputFile, caller: Any) -> Place:
        return Place(file.filename, file, [], Kept("blob", '"e"', 5, 0.0))


async def view(url: str | None, name: str, *, redirect: bool = True, method: str = "GET") -> tuple[Head, bytes]:
    blobs, unused = Store(url), None
    kept = KeptOutputs(KeptFiles(unused, blobs), blobs, redirect)  # type: ignore[arg-type]
    async with gateway(lambda wire: View(wire, Farm(), Known(), Callers(), kept)) as at:
        return await exchange(at, f"{method} /view?filename={name} HTTP/1.1\r\nHost: g\r\n\r\n".encode())


async def test_a_store_that_gives_out_urls_sends_the_file_itself() -> None:
    head, body = await view("https://store/x?signed", "x~w.png")
    assert (head.status, head.get("location"), body) == (307, "https://store/x?signed", b"")
    assert head.get("cache-control") == "no-store"


@pytest.mark.parametrize(("url", "redirect"), [(None, True), ("https://store/x", False)])
async def test_else_the_gateway_sends_it(url: str | None, redirect: bool) -> None:
    head, body = await view(url, "x~w.png", redirect=redirect)
    assert (head.status, body, head.get("etag")) == (200, b"hello", '"e"')
    assert head.get("content-disposition") == 'filename="x~w.png"'


async def test_a_head_and_what_a_browser_would_run_are_as_of_any_file() -> None:
    head, body = await view("https://store/x?signed", "x~w.png", method="HEAD")
    assert (head.status, head.get("content-length"), body) == (200, "5", b"")
    head, body = await view("https://store/x?signed", "x~w.html")
    assert (head.get("content-type"), body) == ("application/octet-stream", b"hello")
    assert head.get("content-disposition") == 'attachment; filename="x~w.html"'
