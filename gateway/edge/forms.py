"""A multipart form read as a stream: its file goes on while it comes, and is never whole in memory.

What names mean is decided by aiohttp's own functions, which ComfyUI's server uses too.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from aiohttp import content_disposition_filename, parse_content_disposition
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from gateway.domain.errors import BrokenBody
from gateway.domain.ports.blobs import Blob
from gateway.edge.headers import RawHeaders, header
from gateway.flows.uploads import Form, Received

MAX_FIELD = 2**18
MAX_PARTS = 1000
_FILE = "image"  # whatever kind of media it is

Keep = Callable[[AsyncIterator[bytes]], Awaitable[Blob]]
Drop = Callable[[Iterable[str]], Awaitable[None]]


async def read_form(headers: RawHeaders, body: AsyncIterator[bytes] | None, keep: Keep, drop: Drop) -> Form:
    """The first field of each name counts, as in ComfyUI. What is no multipart body is an empty form.

    Raises BrokenBody for a malformed one; then, and when the client leaves, what was kept of it is dropped.
    """
    boundary = _boundary(headers)
    if boundary is None or body is None:
        return Form({}, None)
    try:
        reading = _Reading(_Parts(body, boundary), keep)
    except FormParserError as error:
        raise BrokenBody(f"no multipart form: {error}") from error
    try:
        return await reading.form()
    except BaseException:
        if isinstance(reading.image, Received):
            await drop([reading.image.blob.key])
        raise


class _Reading:
    def __init__(self, parts: _Parts, keep: Keep) -> None:
        self._parts = parts
        self._keep = keep
        self._fields: dict[str, str] = {}
        self.image: Received | str | None = None

    async def form(self) -> Form:
        count = 0
        while (part := await self._parts.next()) is not None:
            count += 1
            if count > MAX_PARTS:
                raise BrokenBody(f"the form has more than {MAX_PARTS} parts")
            if part.name == _FILE and self.image is None:
                await self._image(part)
            elif part.name is not None and not part.filename:
                self._fields.setdefault(part.name, await self._parts.text(part.name))
        return Form(self._fields, self.image)

    async def _image(self, part: _Part) -> None:
        if part.filename:
            self.image = Received(part.filename, await self._keep(self._parts.data()))
        else:
            self.image = await self._parts.text(_FILE)


@dataclass(slots=True)
class _Part:
    headers: list[tuple[bytearray, bytearray]] = field(default_factory=list)

    @property
    def name(self) -> str | None:
        return self._disposition().get("name")

    @property
    def filename(self) -> str | None:
        return content_disposition_filename(self._disposition(), "filename")

    def _disposition(self) -> dict[str, str]:
        for name, value in self.headers:
            if name.lower() == b"content-disposition":
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # what is malformed has no name
                    return dict(parse_content_disposition(value.decode("utf-8", "surrogateescape"))[1])
        return {}


_Event = tuple[Literal["part"], _Part] | tuple[Literal["data"], bytes] | tuple[Literal["end"], None]


class _Parts:
    """Turns the parser's callbacks into something that can be pulled."""

    def __init__(self, body: AsyncIterator[bytes], boundary: bytes) -> None:
        self._body = body
        self._events: deque[_Event] = deque()
        self._coming = _Part()
        self._over = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_begin": lambda: self._coming.headers.append((bytearray(), bytearray())),
                "on_header_field": lambda data, start, end: self._coming.headers[-1][0].extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._coming.headers[-1][1].extend(data[start:end]),
                "on_headers_finished": lambda: self._events.append(("part", self._coming)),
                "on_part_data": lambda data, start, end: self._events.append(("data", data[start:end])),
                "on_part_end": lambda: self._events.append(("end", None)),
                "on_end": self._end,
            },
        )

    async def next(self) -> _Part | None:
        """The part that comes next, past what was not read of the last one; None at the end."""
        while (event := await self._event()) is not None:
            if event[0] == "part":
                return event[1]
        return None

    async def data(self) -> AsyncIterator[bytes]:
        """Of the part that was begun last."""
        while (event := await self._event()) is not None and event[0] == "data":
            yield event[1]

    async def text(self, name: str) -> str:
        found = bytearray()
        async for chunk in self.data():
            found += chunk
            if len(found) > MAX_FIELD:
                raise BrokenBody(f"{name} is longer than {MAX_FIELD} bytes", field=name)
        return found.decode(errors="replace")

    async def _event(self) -> _Event | None:
        while not self._events:
            if self._over:
                return None
            try:
                self._parser.write(await anext(self._body))
            except StopAsyncIteration:
                raise BrokenBody("the form ends before its last boundary") from None
            except FormParserError as error:
                raise BrokenBody(f"no multipart form: {error}") from error
        return self._events.popleft()

    def _begin(self) -> None:
        self._coming = _Part()

    def _end(self) -> None:
        self._over = True


def _boundary(headers: RawHeaders) -> bytes | None:
    kind, options = parse_options_header(header(headers, b"content-type") or "")
    return options.get(b"boundary") if kind == b"multipart/form-data" else None
