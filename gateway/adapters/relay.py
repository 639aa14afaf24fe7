"""Bytes to and from a worker, unchanged but for what belongs to one connection or to one browser.

aiohttp stops here: its exceptions become WorkerRefused (nothing was sent) or WorkerSilent (anything else).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from multidict import CIMultiDict, istr
from yarl import URL

from gateway.domain.addresses import masked
from gateway.domain.errors import BadRequest, WorkerRefused, WorkerSilent
from gateway.domain.ports.relay import Answer, Headers

_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer"
    b" transfer-encoding upgrade".split()
)
"""RFC 9110 section 7.6.1: of one connection; so is whatever `Connection` names."""

_JUDGED = _HOP_BY_HOP | frozenset(b"host expect origin referer forwarded x-real-ip x-gateway-worker".split())
"""What the gateway has answered or judged itself; a worker would judge by it again, and wrongly."""

_JUDGED_PREFIXES = (b"sec-fetch-", b"x-forwarded-")

_RENEWED = _HOP_BY_HOP | {b"date", b"server"}
"""What the server in front of the client says itself."""

_NEVER_NAMED = frozenset({b"content-length", b"content-type", b"content-encoding"})
"""A `Connection` that names these would have the body read as something else, even as the next request."""

_AUTOMATIC = tuple(map(istr, ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")))
"""Headers that aiohttp would add on its own."""

_FAILURES = (aiohttp.ClientError, OSError, TimeoutError)
_NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_READ_SIZE = 2**18


def new_session(*, per_worker: int = 256, connect_timeout: float = 3.0) -> aiohttp.ClientSession:
    """The pool that a Relay needs; made inside the event loop, closed by its owner.

    No cookies are kept (they are the clients' own), nothing is decompressed, no answer is ever too slow. Connecting,
    and waiting for one of the `per_worker` connections, ends after `connect_timeout` seconds each.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, limit_per_host=per_worker),
        timeout=aiohttp.ClientTimeout(total=None, connect=2 * connect_timeout, sock_connect=connect_timeout),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        read_bufsize=_READ_SIZE,
        max_line_size=2**16,
        max_field_size=2**16,
    )


class Relay:
    """Holds no state of its own; the session is the pool of connections to all workers."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    @asynccontextmanager
    async def open(
        self,
        url: str,
        method: str,
        target: bytes | str,
        headers: Headers,
        body: AsyncIterator[bytes] | None = None,
    ) -> AsyncIterator[Answer]:
        """One request to the worker at `url` and its answer; leaving before the end closes the connection.

        `target` (path and query) goes out byte for byte. `body` is pulled only as fast as the worker takes it, and
        only once there is a connection, so after WorkerRefused it is whole. A body without a Content-Length is sent
        chunked. What `body` raises cuts the request off and comes out of here.
        """
        source = _Source(body) if body is not None else None
        try:
            response = await self._session.request(
                method,
                destination := _url(url, target),
                data=source,
                headers=_forwarded(headers, own_credentials=destination.user is not None),
                skip_auto_headers=_AUTOMATIC,
                allow_redirects=False,
            )
        except _FAILURES as exc:
            raise _translated(exc, url, source) from exc
        try:
            yield Answer(response.status, _returned(response), response.content_length, _Chunks(response, url, source))
        finally:
            response.close()


class _Source:
    """A request body that remembers why it broke off, which aiohttp wraps beyond recognition."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self.failure: Exception | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._chunks)
        except StopAsyncIteration:
            raise
        except Exception as exc:
            self.failure = exc
            raise


class _Chunks:
    """A response body: what has come since the last look, and no further than the reader follows."""

    def __init__(self, response: aiohttp.ClientResponse, url: str, source: _Source | None) -> None:
        self._content = response.content
        self._url = url
        self._source = source

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await self._content.readany()
        except _FAILURES as exc:
            raise _translated(exc, self._url, self._source) from exc
        if not chunk:
            raise StopAsyncIteration
        return chunk


def _translated(exc: Exception, url: str, source: _Source | None) -> Exception:
    if source is not None and source.failure is not None:
        return source.failure
    if isinstance(exc, _NEVER_SENT):
        return WorkerRefused(f"{masked(url)} cannot be reached: {exc}")
    return WorkerSilent(f"{masked(url)} broke off: {exc!r}")


def _url(base: str, target: bytes | str) -> URL:
    path = target.decode("latin-1") if isinstance(target, bytes) else target
    if not path.startswith("/"):
        raise BadRequest(f"not a path: {path!r}", field="path")
    return URL(base.rstrip("/") + path, encoded=True)


def _forwarded(headers: Headers, *, own_credentials: bool) -> CIMultiDict[str]:
    """For the worker; with credentials of its own in its URL, it is not shown the client's."""
    drop = _JUDGED | _named_by_connection(headers) | ({b"authorization"} if own_credentials else set())
    kept: CIMultiDict[str] = CIMultiDict()
    for name, value in headers:
        lower = name.lower()
        if lower not in drop and not lower.startswith(_JUDGED_PREFIXES):
            kept.add(name.decode("latin-1"), _text(value))
    return kept


def _returned(response: aiohttp.ClientResponse) -> list[tuple[bytes, bytes]]:
    """For the client; a 204 or 304 has no body, whatever length it names."""
    drop = _RENEWED | _named_by_connection(response.raw_headers)
    if response.status in (204, 304):
        drop |= {b"content-length"}
    return [(name, value) for name, value in response.raw_headers if name.lower() not in drop]


def _named_by_connection(headers: Headers) -> frozenset[bytes]:
    named = {t.strip().lower() for n, v in headers if n.lower() == b"connection" for t in v.split(b",")}
    return frozenset(named - _NEVER_NAMED)


def _text(value: bytes) -> str:
    """As aiohttp will write the same bytes: it encodes headers as UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
