"""One request and its response on a connection of `edge/http.py`: what is written, and how it is framed."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

if TYPE_CHECKING:
    from gateway.edge.http import Http

_NO_NAME = re.compile(rb'[\x00-\x1f\x7f()<>@,;:\[\]={} \t\\"]')
_NO_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_USUAL = frozenset(b"date server content-type content-length content-disposition etag last-modified vary".split())
_BODILESS = frozenset({204, 304})
_AT_ONCE = 2**16
"""Bytes of a body that are worth copying behind the head, to be written with it."""


class Cycle(RequestResponseCycle):
    """One request and its response; a Sink for the body once the head is written."""

    access_log = False
    disconnected = False
    more_body = True
    response_started = False
    response_complete = False
    chunked_encoding: bool | None = None
    expected_content_length = 0
    written = 0
    """Bytes of the body that the transport was given."""
    _until_end = False
    """Whether the body has no end but that of the connection: HTTP/1.0 knows no chunks."""
    _feeder: Callable[[bool], None] | None = None
    _leaver: Callable[[], None] | None = None
    _head = b""
    """Not written yet: it goes out with the first of the body, or when that is not there at once."""
    _flushing: asyncio.Handle

    def __init__(self, http: Http, keep_alive: bool) -> None:
        self.scope = http.scope
        self._loop = http.loop
        self.transport = http.transport
        self.flow = http.flow
        self.logger = http.logger
        self.default_headers = http.server_state.default_headers
        self.message_event = asyncio.Event()
        self.on_response = http.on_response_complete
        self.keep_alive = keep_alive
        self.waiting_for_100_continue = http.expect_100_continue
        self.body = bytearray()

    async def send(self, message: Any) -> None:
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self._is_gone():
            return
        kind = message["type"]
        if kind == "http.response.start" and not self.response_started:
            self._start(message["status"], message.get("headers", ()))
        elif kind == "http.response.body" and self.response_started and not self.response_complete:
            self._write(message.get("body", b""))
            if not message.get("more_body", False):
                self._end()
        else:
            raise RuntimeError(f"{kind} is out of place here")

    def write(self, data: bytes | memoryview) -> None:
        if not self._is_gone():
            self._write(data)

    def _is_gone(self) -> bool:
        """A transport that failed to write says so at once, and to the protocol a moment later."""
        if not self.disconnected and self.transport.is_closing():
            self.disconnected = True
        return self.disconnected

    def pending(self) -> int:
        """Also of a connection that is being closed: until then its transport needs what it was given."""
        return self.transport.get_write_buffer_size()

    def wants_more(self) -> bool:
        """Whether it is for the client to send more of the request."""
        return self.more_body and not self.response_complete and not self.waiting_for_100_continue

    def fed_by(self, pace: Callable[[bool], None] | None) -> None:
        self._feeder = pace
        if pace is not None:
            pace(self.flow.write_paused and not self.disconnected)

    def pace(self, full: bool) -> None:
        if self._feeder is not None:
            self._feeder(full)

    def when_gone(self, call: Callable[[], None] | None) -> None:
        """Whom to tell that the client has left before its answer was whole: without a task that waits for that."""
        self._leaver = call
        if call is not None:
            self.flow.resume_reading()  # else nothing shows that it left
            if self.disconnected:
                self._loop.call_soon(self.lost)

    def lost(self) -> None:
        if self._leaver is not None:
            leaver, self._leaver = self._leaver, None
            leaver()

    def broke_off(self) -> None:
        """The rest of the body will not come: where the connection's end would be its end, it ends as an error does."""
        if self._until_end:
            reset_at_end(self.transport)

    def _start(self, status: int, headers: Any) -> None:
        self.response_started = True
        if self.waiting_for_100_continue:
            self._expect_no_more()
        head = [STATUS_LINE[status]]
        values, closes = [], False
        for cased, value in (*self.default_headers, *headers):
            name = cased.lower()
            if name == b"content-length" and self.chunked_encoding is None:
                self.expected_content_length = int(value)
                self.chunked_encoding = False
            elif name == b"transfer-encoding" and value.lower() == b"chunked":
                self.expected_content_length = 0
                self.chunked_encoding = True
            elif name == b"connection" and b"close" in map(bytes.strip, value.lower().split(b",")):
                self.keep_alive, closes = False, True
            if name not in _USUAL and _NO_NAME.search(name):
                raise RuntimeError("Invalid HTTP header name.")
            values.append(value)
            head += (name, b": ", value, b"\r\n")
        if _NO_VALUE.search(b"".join(values)):
            raise RuntimeError("Invalid HTTP header value.")
        if not self.keep_alive and not closes:
            head.append(b"connection: close\r\n")
        if self.chunked_encoding is None and self.scope["method"] != "HEAD" and status not in _BODILESS:
            head.append(self._without_length())
        head.append(b"\r\n")
        self._head = b"".join(head)
        self._flushing = self._loop.call_soon(self._flush)

    def _expect_no_more(self) -> None:
        """Whether the body still comes that was not asked for, the client decides."""
        self.waiting_for_100_continue = False
        self.keep_alive &= not self.more_body

    def _without_length(self) -> bytes:
        self.chunked_encoding = self.scope["http_version"] == "1.1"
        self._until_end = not self.chunked_encoding
        return b"transfer-encoding: chunked\r\n" if self.chunked_encoding else b""

    def _flush(self) -> None:
        if self._head and not self.disconnected:
            head, self._head = self._head, b""
            self._flushing.cancel()
            self.transport.write(head)

    def _write(self, data: bytes | memoryview) -> None:
        size = len(data)
        if self.scope["method"] == "HEAD":
            self.expected_content_length = size = 0
        elif self.chunked_encoding and size:
            data = b"".join((b"%x\r\n" % size, data, b"\r\n"))
        elif size > self.expected_content_length and not self._until_end:
            raise RuntimeError("Response content longer than Content-Length")
        else:
            self.expected_content_length -= size
        if not size:
            return
        self.written += len(data)
        if self._head and size < _AT_ONCE:
            data = b"".join((self._head, data))
            self._head = b""
            self._flushing.cancel()
        else:
            self._flush()
        self.transport.write(data)

    def _end(self) -> None:
        if self.expected_content_length != 0 and not self._until_end:
            raise RuntimeError("Response content shorter than Content-Length")
        self._flush()
        if self.chunked_encoding and self.scope["method"] != "HEAD":
            self.transport.write(b"0\r\n\r\n")
        self.response_complete = True
        self.scope["extensions"].clear()  # else the two hold each other, and wait for the garbage collector
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


def reset_at_end(transport: asyncio.Transport) -> None:
    """What the kernel still has for the client goes with the connection, whose end is no regular one: it would keep
    megabytes for one who does not take them, and half an answer may look whole."""
    sock = transport.get_extra_info("socket")
    if sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
