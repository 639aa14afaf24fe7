"""One connection to a worker, HTTP/1.1: a request without a body out, its answer in, no stop in between.

The bytes of a body go from one socket to the other inside the event loop's callback: no stream reader, no task that
wakes up for each piece, no copy where there are many at once (`pouring.py`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from gateway.adapters.pouring import Buffer, Pouring
from gateway.domain.errors import WorkerSilent
from gateway.domain.ports.relay import Sink

_AHEAD = 2**18
"""Bytes that are kept for a reader who does not come for them; then the worker has to wait."""
_UNSAID_AT_MOST = 2**18
"""Bytes without a whole head, or without any of a body: a head, an extension of a chunk or a trailer without end."""
_WORTH_KEEPING = 2**12
"""From so many bytes on they are written from where they were read to, instead of from a copy."""


class Connection(asyncio.BufferedProtocol):
    """Answers one `ask` at a time. `lost` is told when it has ended, asked or not."""

    _transport: asyncio.Transport
    _parser: HttpResponseParser

    def __init__(self, buffer: Buffer, lost: Callable[[Connection], None]) -> None:
        self._buffer = buffer
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._chunks: deque[bytes] = deque()
        self._pouring: Pouring | None = None
        self._asked = self._closed = self._paused = self._complete = self._keeps = False
        self.idle_since = 0.0

    async def ask(self, request: bytes, *, bodiless: bool) -> None:
        """Send the head of a request, return when that of its answer is there. `bodiless`: no body follows it."""
        self._parser = HttpResponseParser(self)
        self._bodiless = bodiless
        self._chunks.clear()
        self._size = self._unsaid = 0
        self._headed = self._counted = self._complete = self._keeps = False
        self._left: int | None = None
        self._failure: WorkerSilent | None = None
        self.touched = False
        """Whether any of the answer has come."""
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.length: int | None = None
        """Of the body, where it is known beforehand."""
        self._asked = True
        if self._closed:
            raise WorkerSilent("it has hung up")
        self._transport.write(request)
        await self._wait()
        self._check()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes, and no further than the reader follows; WorkerSilent when it breaks off."""
        while True:
            while self._chunks:
                chunk = self._chunks.popleft()
                self._size -= len(chunk)
                self._pace(self._size > _AHEAD)
                yield chunk
            if self._complete:
                return
            self._check()
            await self._wait()

    async def pour(self, sink: Sink) -> None:
        """The rest of the body to the sink, as fast as that takes it; WorkerSilent when it breaks off."""
        pouring = Pouring(sink)
        while self._chunks:
            pouring.write(self._chunks.popleft())
        self._size = 0
        if self._complete:
            return
        self._pouring = pouring
        sink.fed_by(self._pace)
        try:
            while not self._complete:
                self._check()
                await self._wait()
        finally:
            self._pouring = None
            sink.fed_by(None)

    def release(self) -> bool:
        """Whether another request may be sent; else it is closed at once."""
        self._waiter = None
        self._asked = False
        if self._complete and self._keeps and not self._closed:
            self._pace(False)
            return True
        self.abort()
        return False

    def abort(self) -> None:
        self._asked = False
        self._transport.abort()

    def _wait(self) -> asyncio.Future[None]:
        """Until the head, a piece of the body, its end or a failure is there."""
        self._waiter = self._loop.create_future()
        return self._waiter

    def _check(self) -> None:
        """Raises why there will be no more, once all that came is taken."""
        if self._failure is not None and not self._chunks:
            raise self._failure

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _pace(self, full: bool) -> None:
        """Stop reading while what was read is not taken."""
        if full is not self._paused and not self._closed:
            self._paused = full
            (self._transport.pause_reading if full else self._transport.resume_reading)()

    # asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's is none by its class

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer.view

    def buffer_updated(self, nbytes: int) -> None:
        if not self._asked:
            self.abort()  # nobody asked: what comes now would be taken for the next answer
            return
        self.touched = True
        if self._counted:
            self._take(self._buffer.view[:nbytes])
            return
        self._unsaid += nbytes
        try:
            self._parser.feed_data(self._buffer.view[:nbytes])
        except (HttpParserError, HttpParserUpgrade) as exc:
            self._keeps = False
            if not self._complete:
                self._fail(f"no HTTP that is understood: {exc}")
        if self._unsaid > _UNSAID_AT_MOST:
            self._keeps = False
            self._fail("its head does not end")

    def eof_received(self) -> None:
        self._ended(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        self._ended(exc)
        self._lost(self)

    def _ended(self, exc: Exception | None) -> None:
        self._keeps = False
        if not self._asked or self._complete:
            return
        if self._headed and not self._counted and self._until_end and exc is None:
            self._finish()
        else:
            self._fail(f"hung up: {exc!r}" if exc else "hung up")

    def _fail(self, why: str) -> None:
        if self._failure is None:
            self._failure = WorkerSilent(why)
        self._wake()

    # httptools

    def on_message_begin(self) -> None:
        if self._headed:
            self._keeps = False  # there is more than was asked for

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._headed:  # else it is a trailer, which is decided upon no more
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._unsaid = 0
        if self._headed:
            return
        self.status = self._parser.get_status_code()
        if not 100 <= self.status < 600:
            self._fail(f"no status is {self.status}")
        elif self.status < 200:  # 100 and 103; after 101 the parser raises
            self.headers = []
        else:
            self._frame({name.lower(): value for name, value in self.headers})
            self._wake()

    def _frame(self, told: dict[bytes, bytes]) -> None:
        """Where the body ends. Two lengths, or one beside a coding, are refused by the parser."""
        coding = told.get(b"transfer-encoding")
        self._until_end = coding is None and b"content-length" not in told
        bodiless = self._bodiless or self.status in (204, 304)
        if not (bodiless or coding is None or coding.strip().lower() == b"chunked"):
            self._fail(f"nobody asked for the transfer coding {coding!r}")
            return
        self._headed = True
        self._keeps = self._parser.should_keep_alive()
        if bodiless:
            self.length = 0
            self._finish()
        elif coding is None and b"content-length" in told:
            self.length = self._left = int(told[b"content-length"])
            if not self._left:
                self._finish()

    def on_body(self, body: bytes) -> None:
        self._unsaid = 0
        if self._complete or not self._headed:
            self._keeps = False
        elif self._left is not None:
            self._take(body)
        else:
            self._deliver(body)

    def on_message_complete(self) -> None:
        if self._headed and not self._complete:
            if self._left:
                self._fail("its length is not what it said")
            else:
                self._finish()

    def _take(self, data: bytes | memoryview) -> None:
        """A piece of a body whose length is known; from the second on the parser is not asked."""
        assert self._left is not None
        self._counted = True
        if len(data) > self._left:
            self._keeps = False
            data = data[: self._left]
        self._left -= len(data)
        if data:
            self._deliver(data)
        if not self._left and not self._complete:
            self._finish()

    def _deliver(self, data: bytes | memoryview) -> None:
        pouring = self._pouring
        if isinstance(data, memoryview) and (pouring is None or len(data) < _WORTH_KEEPING):
            data = bytes(data)
        if pouring is not None:
            pouring.write(data)
            if isinstance(data, memoryview) and pouring.sent < pouring.written:
                self._buffer.held_by(pouring)
        elif isinstance(data, bytes):
            self._chunks.append(data)
            self._size += len(data)
            self._pace(self._size > _AHEAD)
            self._wake()

    def _finish(self) -> None:
        self._complete = True
        self._wake()
