"""A file that the farm itself keeps, sent as ComfyUI sends one from its disk: ranges, conditions, conversions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

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
from gateway.edge.headers import RawHeaders, header, matches
from gateway.flows import pictures
from gateway.flows.kept_files import KeptFiles

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
        async with Until(Incoming(scope, receive)):
            if pictures.is_asked_for(query):
                kind, data = await self._files.converted(kept, query)
                about = {"content-type": kind, "content-disposition": disposition(ref.name)}
                await Response(data, headers=about)(scope, receive, send)
            else:
                await self._stored(ref, kept, scope, send)

    async def _stored(self, ref: FileRef, kept: Kept, scope: Scope, send: Send) -> None:
        headers: RawHeaders = scope["headers"]
        etag = f'"{kept.digest[:24]}-{kept.size:x}"'
        age = [("etag", etag), ("last-modified", http_date(kept.at)), ("accept-ranges", "bytes")]
        if _is_known(headers, etag, kept.at):
            await _empty(304, age, send)
            return
        try:
            part = wanted(_range(headers, etag, kept.at), kept.size)
        except Unsatisfiable:
            await _empty(416, [("content-range", f"bytes */{kept.size}"), ("content-length", "0")], send)
            return
        start, end = part or (0, kept.size)
        about = [
            *view_headers(ref.name, header(headers, b"sec-fetch-dest")),
            *age,
            ("content-length", str(end - start)),
        ]
        if part:
            about.append(("content-range", f"bytes {start}-{end - 1}/{kept.size}"))
        if scope["method"] == "HEAD":
            await _empty(206 if part else 200, about, send)
        else:
            await self._bytes(ref, (start, end), 206 if part else 200, about, send)

    async def _bytes(
        self, ref: FileRef, part: tuple[int, int], status: int, about: list[tuple[str, str]], send: Send
    ) -> None:
        """What breaks off in the middle ends without its end, upon which the server cuts the connection."""
        async with self._files.open(ref, *part) as chunks:
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
    raw = [(name.encode(), value.encode("utf-8")) for name, value in about]
    await send({"type": "http.response.start", "status": status, "headers": raw})


async def _empty(status: int, about: list[tuple[str, str]], send: Send) -> None:
    await _start(status, about, send)
    await send({"type": "http.response.body", "body": b""})
