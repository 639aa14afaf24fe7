"""A file that the farm itself keeps, sent as ComfyUI sends one from its disk: ranges, conditions, conversions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from starlette.datastructures import QueryParams
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.domain.errors import BlobsUnavailable, NotFound, NotShown
from gateway.domain.files import WRITTEN
from gateway.domain.files.index import Kept
from gateway.domain.files.refs import FileRef, of_view
from gateway.domain.media import disposition, view_headers
from gateway.domain.ports.relay import Wire
from gateway.domain.ranges import Unsatisfiable, http_date, is_since, wanted
from gateway.domain.workers import Worker
from gateway.edge.carry import Incoming, Until, carry, target_of
from gateway.edge.headers import RawHeaders, header, matches, written
from gateway.flows import pictures
from gateway.flows.kept_files import KeptFiles

Open = Callable[[int, int], AbstractAsyncContextManager[AsyncIterator[bytes]]]
Holder = Callable[[FileRef], Awaitable[Worker | None]]


class KeptView:
    """GET and HEAD /view: an input that the farm does not keep comes from a worker that `holder` finds; what nobody
    has, and all else, is for `otherwise`. `shared`: all workers have one output folder."""

    def __init__(
        self, files: KeptFiles, wire: Wire, holder: Holder, otherwise: ASGIApp, *, shared: bool = False
    ) -> None:
        self._shared = shared
        self._files = files
        self._wire = wire
        self._holder = holder
        self._otherwise = otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = QueryParams(scope["query_string"])
        ref = of_view(query)
        kept = await self._files.find(ref) if ref else None
        if ref is not None and kept is not None:
            if self._is_output(ref) and await self._shown(scope, receive, send):
                return
            await self._answer(ref, kept, query, scope, receive, send)
        elif ref is not None and ref.type == "input" and (worker := await self._holder(ref)) is not None:
            await carry(self._wire, worker.url, target_of(scope), scope, Incoming(scope, receive), send)
        else:
            await self._otherwise(scope, receive, send)

    async def _shown(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Whether it is what a prompt wrote, which goes before what somebody uploaded under that name."""
        try:
            await self._otherwise(scope, receive, send)
        except NotShown:
            return False
        return True

    def _is_output(self, ref: FileRef) -> bool:
        return ref.type in WRITTEN and not (self._shared and ref.type == "output")

    async def _answer(
        self, ref: FileRef, kept: Kept, query: Mapping[str, str], scope: Scope, receive: Receive, send: Send
    ) -> None:
        async with Until(scope):
            if pictures.is_asked_for(query):
                kind, data = await self._files.converted(kept, query)
                about = {"content-type": kind, "content-disposition": disposition(ref.name)}
                await Response(data, headers=about)(scope, receive, send)
            else:
                etag = f'"{kept.digest[:24]}-{kept.size:x}"'
                file = Stored(ref.name, etag, kept.size, kept.at, self._opener(ref))
                await send_stored(file, scope, send)

    def _opener(self, ref: FileRef) -> Open:
        return lambda start, end: self._files.open(ref, start, end)


@dataclass(frozen=True, slots=True)
class Stored:
    """What is to be sent, and how a part of it is opened: from the first byte up to, not including, the last."""

    name: str
    etag: str
    size: int
    at: float
    open: Open


async def send_stored(file: Stored, scope: Scope, send: Send) -> None:
    """Answer a GET or HEAD as ComfyUI does from its disk."""
    headers: RawHeaders = scope["headers"]
    age = [("etag", file.etag), ("last-modified", http_date(file.at)), ("accept-ranges", "bytes")]
    if _is_known(headers, file.etag, file.at):
        await _empty(304, age, send)
        return
    try:
        part = wanted(_range(headers, file.etag, file.at), file.size)
    except Unsatisfiable:
        await _empty(416, [("content-range", f"bytes */{file.size}"), ("content-length", "0")], send)
        return
    start, end = part or (0, file.size)
    about = [*view_headers(file.name, header(headers, b"sec-fetch-dest")), *age, ("content-length", str(end - start))]
    if part:
        about.append(("content-range", f"bytes {start}-{end - 1}/{file.size}"))
    if scope["method"] == "HEAD":
        await _empty(206 if part else 200, about, send)
    else:
        await _bytes(file, (start, end), 206 if part else 200, about, send)


async def _bytes(file: Stored, part: tuple[int, int], status: int, about: list[tuple[str, str]], send: Send) -> None:
    """What breaks off in the middle ends without its end, upon which the server cuts the connection."""
    async with file.open(*part) as chunks:
        await _start(status, about, send)
        try:
            async for chunk in chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except (BlobsUnavailable, NotFound):
            return
        await send({"type": "http.response.body", "body": b""})


def _is_known(headers: RawHeaders, etag: str, at: float) -> bool:
    if header(headers, b"if-none-match") is not None:
        return matches(headers, etag)
    return is_since(header(headers, b"if-modified-since"), at)


def _range(headers: RawHeaders, etag: str, at: float) -> str | None:
    """The Range, unless the file is another than the client has a part of."""
    condition = header(headers, b"if-range")
    same = condition is None or condition == etag or is_since(condition, at)
    return header(headers, b"range") if same else None


async def _start(status: int, about: list[tuple[str, str]], send: Send) -> None:
    raw = [(name.encode(), written(value)) for name, value in about]
    await send({"type": "http.response.start", "status": status, "headers": raw})


async def _empty(status: int, about: list[tuple[str, str]], send: Send) -> None:
    await _start(status, about, send)
    await send({"type": "http.response.body", "body": b""})
