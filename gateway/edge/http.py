"""uvicorn's HTTP protocol with less to do for each request, and a shorter way for a body that comes from a worker.

What an answer from memory costs is mostly the server's: here a request has no timer of its own, its head and the first
of its body are written at once, and a body can be handed over without a message and a step for each part (`Sink`).
"""

from __future__ import annotations

import asyncio
import re
from asyncio import TimerHandle
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.flow_control import service_unavailable
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

SINK = "comfygw.sink"
"""The name of the ASGI extension that is the Sink of this request's body; there after `http.response.start`."""

_NO_NAME = re.compile(rb'[\x00-\x1f\x7f()<>@,;:\[\]={} \t\\"]')
_NO_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_USUAL = frozenset(b"date server content-type content-length content-disposition etag last-modified vary".split())
_BODILESS = frozenset({204, 304})
_AT_ONCE = 2**16
"""Bytes of a body that are worth copying behind the head, to be written with it."""


class Http(HttpToolsProtocol):
    """One timer for the whole connection finds it idle, whatever number of requests it has carried."""

    _idle: TimerHandle | None = None
    _idle_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._scope = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": "1.1",
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": self.root_path,
        }

    def handle_websocket_upgrade(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        super().handle_websocket_upgrade()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._idle is not None:
            self._idle.cancel()
        super().connection_lost(exc)
        if isinstance(self.cycle, Cycle):
            self.cycle.pace(False)

    def _unset_keepalive_if_required(self) -> None:
        """The timer finds out by itself that a request came."""

    def on_message_begin(self) -> None:
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self.scope = {**self._scope, "headers": self.headers, "state": self.app_state.copy()}  # type: ignore[typeddict-item]

    def on_headers_complete(self) -> None:
        version, scope = self.parser.get_http_version(), self.scope
        scope["method"] = self.parser.get_method().decode("ascii")
        if version != "1.1":
            scope["http_version"] = version
        if self.parser.should_upgrade() and self._should_upgrade():
            return
        raw, query = _parts(self.url)
        path = raw.decode("ascii")
        scope["path"] = self.root_path + (unquote(path) if "%" in path else path)
        scope["raw_path"] = self.root_path.encode("ascii") + raw if self.root_path else raw
        scope["query_string"] = query
        before = self.cycle
        self.cycle = cycle = Cycle(self, version != "1.0" and self.parser.should_keep_alive())
        extensions: dict[str, Any] = {SINK: cycle}
        scope["extensions"] = extensions
        app = self.app if self.limit_concurrency is None or not self._is_busy() else service_unavailable
        if before is None or before.response_complete:
            self._start_asgi_task(cycle, app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, app))

    def _is_busy(self) -> bool:
        limit = self.limit_concurrency or 0
        return len(self.connections) >= limit or len(self.tasks) >= limit

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        if self._idle is None:
            self._idle = self.loop.call_later(self.timeout_keep_alive, self._look)

    def _look(self) -> None:
        """Close what was idle for long enough; else look again when it may have been."""
        self._idle = None
        if self.cycle is not None and not self.cycle.response_complete:
            return  # the end of that response sets the timer again
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left <= 0:
            self.timeout_keep_alive_handler()
        else:
            self._idle = self.loop.call_later(left, self._look)

    def pause_writing(self) -> None:
        super().pause_writing()
        if isinstance(self.cycle, Cycle):
            self.cycle.pace(True)

    def resume_writing(self) -> None:
        super().resume_writing()
        if isinstance(self.cycle, Cycle):
            self.cycle.pace(False)


class Cycle(RequestResponseCycle):
    """One request and its response; a Sink for the body once the head is written."""

    access_log = False
    disconnected = False
    more_body = True
    response_started = False
    response_complete = False
    chunked_encoding: bool | None = None
    expected_content_length = 0
    _feeder: Callable[[bool], None] | None = None
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
        return 0 if self.disconnected else self.transport.get_write_buffer_size()

    def fed_by(self, pace: Callable[[bool], None] | None) -> None:
        self._feeder = pace
        if pace is not None:
            pace(self.flow.write_paused and not self.disconnected)

    def pace(self, full: bool) -> None:
        if self._feeder is not None:
            self._feeder(full)

    def _start(self, status: int, headers: Any) -> None:
        self.response_started = True
        self.waiting_for_100_continue = False
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
            self.chunked_encoding = True
            head.append(b"transfer-encoding: chunked\r\n")
        head.append(b"\r\n")
        self._head = b"".join(head)
        self._flushing = self._loop.call_soon(self._flush)

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
        elif size > self.expected_content_length:
            raise RuntimeError("Response content longer than Content-Length")
        else:
            self.expected_content_length -= size
        if not size:
            return
        if self._head and size < _AT_ONCE:
            data = b"".join((self._head, data))
            self._head = b""
            self._flushing.cancel()
        else:
            self._flush()
        self.transport.write(data)

    def _end(self) -> None:
        if self.expected_content_length != 0:
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


def _parts(url: bytes) -> tuple[bytes, bytes]:
    """Path and query of a request's target."""
    if url.startswith(b"/") and b"#" not in url:
        path, _, query = url.partition(b"?")
        return path, query
    parsed = httptools.parse_url(url)
    return parsed.path, parsed.query or b""
