"""uvicorn's HTTP protocol with less to do for each request, and a shorter way for a body that comes from a worker.

What an answer from memory costs is mostly the server's: here a request has no timer of its own, its head and the first
of its body are written at once, and a body can be handed over without a message and a step for each part (`Sink`).
"""

from __future__ import annotations

import asyncio
import fcntl
import sys
import termios
from asyncio import TimerHandle
from collections import deque
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.flow_control import FlowControl, service_unavailable
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.edge.cycle import Cycle, reset_at_end

SINK = "comfygw.sink"
"""The name of the ASGI extension that is the Sink of this request's body; there after `http.response.start`."""

_UNSAID_AT_MOST = 2**16
"""Bytes without a whole head, or without any of a body: a head, an extension of a chunk or a trailer without end."""
_STALLED = 120.0
"""Seconds in which a client neither sends nor takes a byte of what is its turn: it would hold a worker's connection. A
player that was paused asks again for the rest, by a range."""
_SOON = 0.1
_PIPELINED = 16
"""Requests that wait for those before them; then no more are read, but for what came with the last of them."""
_TRAILERS: Any = deque(maxlen=0)
"""Takes what comes as headers after a body, and keeps nothing: they were decided upon before."""


class Flow(FlowControl):
    """Reads no further while enough requests wait, whoever asks for it."""

    def __init__(self, transport: asyncio.Transport, pipeline: deque[Any]) -> None:
        super().__init__(transport)
        self._pipeline = pipeline

    def resume_reading(self) -> None:
        if len(self._pipeline) < _PIPELINED:
            super().resume_reading()


class Http(HttpToolsProtocol):
    """One timer for the whole connection finds it idle, whatever number of requests it has carried."""

    _idle: TimerHandle | None = None
    _idle_since = 0.0
    _leaving = False
    """Whether the server ends, and this connection with the next answer."""
    _answering: Cycle | None = None
    """Whose turn it is; `cycle` is that of the request that came last."""
    _unsaid = 0
    _received = 0
    _moved: object = None
    """What had come and gone when that was looked at last, and since when it has been so."""
    _moved_at = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = Flow(transport, self.pipeline)
        self._idle_from_now()
        self._scope = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": "1.1",
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": self.root_path,
        }

    def data_received(self, data: bytes) -> None:
        self._unsaid += len(data)
        self._received += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            self._upgrade(data[exc.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        else:
            if self._unsaid > _UNSAID_AT_MOST:
                self.send_400_response("This goes on for too long.")

    def send_400_response(self, msg: str) -> None:
        self.logger.warning(msg)
        if (cycle := self._answering) is not None and cycle.response_started and not cycle.response_complete:
            self.transport.abort()  # it would be taken for a part of that answer
        else:
            super().send_400_response(msg)

    def _is_answering(self) -> bool:
        return self._answering is not None and not self._answering.response_complete

    def _upgrade(self, rest: bytes) -> None:
        """To a WebSocket; any other wish is passed over, and the parser, which takes what follows for no HTTP, too."""
        scope = self.scope
        if self._should_upgrade() and scope["method"] == "GET" and not self._is_answering():
            if self._idle is not None:
                self._idle.cancel()
            self.handle_websocket_upgrade()
        elif self._should_upgrade() or scope["method"] == "CONNECT":
            self.send_400_response("Not to be upgraded here.")
        else:
            head = [scope["method"].encode(), b" ", self.url, b" HTTP/", scope["http_version"].encode(), b"\r\n"]
            for name, value in self.headers:
                if name != b"upgrade":
                    head += (name, b": ", value, b"\r\n")
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            self.data_received(b"".join((*head, b"\r\n", rest)))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._idle is not None:
            self._idle.cancel()
        super().connection_lost(exc)
        self.pipeline.clear()
        if (cycle := self._answering) is not None:
            cycle.disconnected = cycle.disconnected or not cycle.response_complete
            cycle.message_event.set()
            cycle.pace(False)
            if cycle.disconnected:
                cycle.lost()

    def _unset_keepalive_if_required(self) -> None:
        """The timer finds out by itself that a request came."""

    def on_message_begin(self) -> None:
        self._unsaid = 0
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self.scope = {**self._scope, "headers": self.headers, "state": self.app_state.copy()}  # type: ignore[typeddict-item]

    def on_headers_complete(self) -> None:
        self._unsaid = 0
        version, scope = self.parser.get_http_version(), self.scope
        scope["method"] = self.parser.get_method().decode("ascii")
        if version != "1.1":
            scope["http_version"] = version
        if self.parser.should_upgrade():
            return
        raw, query = _parts(self.url)
        path = raw.decode("ascii")
        scope["path"] = self.root_path + (unquote(path) if "%" in path else path)
        scope["raw_path"] = self.root_path.encode("ascii") + raw if self.root_path else raw
        scope["query_string"] = query
        before = self.cycle
        keep_alive = version != "1.0" and not self._leaving and self.parser.should_keep_alive()
        self.cycle = cycle = Cycle(self, keep_alive)
        extensions: dict[str, Any] = {SINK: cycle}
        scope["extensions"] = extensions
        self.headers = _TRAILERS
        app = self.app if self.limit_concurrency is None or not self._is_busy() else service_unavailable
        if before is None or before.response_complete:
            self._answering = cycle
            self._start_asgi_task(cycle, app)
        else:
            self.pipeline.appendleft((cycle, app))
            if len(self.pipeline) >= _PIPELINED:
                self.flow.pause_reading()  # not before: that the client leaves would not be seen

    def on_body(self, body: bytes) -> None:
        self._unsaid = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _is_busy(self) -> bool:
        limit = self.limit_concurrency or 0
        return len(self.connections) >= limit or len(self.tasks) >= limit

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._answering = cycle  # type: ignore[assignment]  # there are no others
            self.flow.resume_reading()
            self._start_asgi_task(cycle, app)
        else:
            self.flow.resume_reading()
            self._idle_from_now()

    def _idle_from_now(self) -> None:
        self._idle_since = self.loop.time()
        if self._idle is None:
            self._idle = self.loop.call_later(self.timeout_keep_alive, self._look)

    def _look(self) -> None:
        """Close what was idle for long enough, cut off who does not move; else look again when that may be so."""
        self._idle = None
        if self._is_stalled():
            self.logger.info("%s has not moved for %g s, and is cut off", self.client, _STALLED)
            reset_at_end(self.transport)
            self.transport.abort()
            return
        now = self.loop.time()
        if self.cycle is not None and not (self.cycle.response_complete and not self.transport.get_write_buffer_size()):
            self._idle_since = now
        left = self._idle_since + self.timeout_keep_alive - now
        if left <= 0 and not _unread(self.transport):
            self.timeout_keep_alive_handler()
        else:
            self._idle = self.loop.call_later(min(max(left, _SOON), _STALLED), self._look)

    def shutdown(self) -> None:
        self._leaving = True
        if (self.cycle is not None and not self.cycle.response_complete) or not _unread(self.transport):
            super().shutdown()

    def _is_stalled(self) -> bool:
        """Whether it is the client's turn, and was it all the time since nothing moved."""
        cycle, waiting = self._answering, untaken(self.transport)
        wanted = cycle is not None and cycle.wants_more() and not self.flow.read_paused
        if cycle is None or not (waiting or wanted):
            self._moved = None
            return False
        moved = (wanted and self._received, cycle.written - waiting)  # another request is no reason to wait
        if moved != self._moved:
            self._moved, self._moved_at = moved, self.loop.time()
        return self.loop.time() - self._moved_at >= _STALLED

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._answering is not None:
            self._answering.pace(True)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._answering is not None:
            self._answering.pace(False)


def untaken(transport: asyncio.Transport) -> int:
    """Bytes that the client's machine has not acknowledged. The kernel asks for more only when much of its own buffer,
    which is megabytes, has gone: a slow client takes minutes for that."""
    return transport.get_write_buffer_size() + _queued(transport, termios.TIOCOUTQ)


def _unread(transport: asyncio.Transport) -> int:
    """Bytes of the client's that have come and are still to be read: closing now would reset what it has asked."""
    return _queued(transport, termios.FIONREAD)


def _queued(transport: asyncio.Transport, which: int) -> int:
    try:
        count = fcntl.ioctl(transport.get_extra_info("socket").fileno(), which, bytes(4))
    except (OSError, ValueError):  # it is closed
        return 0
    return int.from_bytes(count, sys.byteorder)


def _parts(url: bytes) -> tuple[bytes, bytes]:
    """Path and query of a request's target."""
    if url.startswith(b"/") and b"#" not in url:
        path, _, query = url.partition(b"?")
        return path, query
    parsed = httptools.parse_url(url)
    return parsed.path, parsed.query or b""
