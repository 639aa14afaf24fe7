"""Bytes to and from a worker, unchanged but for what belongs to one connection or to one browser.

What has no body, as nearly all that is passed through, goes over connections of our own; what has one goes by aiohttp,
whose exceptions become WorkerRefused (nothing was sent) or WorkerSilent (anything else) here.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType

import aiohttp
from multidict import CIMultiDict, istr
from yarl import URL

from gateway.adapters.upstream import Connection
from gateway.adapters.upstream_pool import Peer, Pool, probed
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

_NO_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_NO_TARGET = re.compile(rb"[\x00-\x20\x7f]")
"""What would end a header, or the first line, before its end."""

_FAILURES = (aiohttp.ClientError, OSError, TimeoutError)
_NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_READ_SIZE = 2**18


def new_session(*, per_worker: int = 256, connect_timeout: float = 3.0) -> aiohttp.ClientSession:
    """The pool that a Relay needs; made inside the event loop, closed by its owner.

    No cookies are kept (they are the clients' own), nothing is decompressed, no answer is ever too slow. Connecting,
    and waiting for one of the `per_worker` connections, ends after `connect_timeout` seconds each.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, limit_per_host=per_worker, socket_factory=probed),
        timeout=aiohttp.ClientTimeout(total=None, connect=2 * connect_timeout, sock_connect=connect_timeout),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        read_bufsize=_READ_SIZE,
        max_line_size=2**16,
        max_field_size=2**16,
    )


class Relay:
    """The session is the pool of connections for requests with bodies; that for the others is its own, until closed."""

    def __init__(self, session: aiohttp.ClientSession, *, per_worker: int = 256, connect_timeout: float = 3.0) -> None:
        self._session = session
        self._pool = Pool(per_worker=per_worker, connect_timeout=connect_timeout)

    async def __aenter__(self) -> Relay:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._pool.close()

    def open(
        self,
        url: str,
        method: str,
        target: bytes | str,
        headers: Headers,
        body: AsyncIterator[bytes] | None = None,
    ) -> AbstractAsyncContextManager[Answer]:
        """One request to the worker at `url` and its answer; leaving before the end closes the connection.

        `target` (path and query) goes out byte for byte. `body` is pulled only as fast as the worker takes it, and
        only once there is a connection, so after WorkerRefused it is whole. A body without a Content-Length is sent
        chunked. What `body` raises cuts the request off and comes out of here.
        """
        if body is None:
            return _Asking(self._pool, url, method, _path(target), headers)
        return self._sent(url, method, target, headers, _Source(body))

    @asynccontextmanager
    async def _sent(
        self, url: str, method: str, target: bytes | str, headers: Headers, source: _Source
    ) -> AsyncIterator[Answer]:
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
            told = _returned(response.status, response.raw_headers)
            yield Answer(response.status, told, response.content_length, _Chunks(response, url, source))
        finally:
            response.close()


class _Asking:
    """A request without a body. Only a GET or HEAD is sent again, if a kept connection ends before it answers; all
    else goes over a new one, which no worker can have been about to close."""

    _connection: Connection | None = None

    def __init__(self, pool: Pool, url: str, method: str, target: bytes, headers: Headers) -> None:
        self._pool = pool
        self._peer = pool.peer(url)
        self._again = method in ("GET", "HEAD")
        self._bodiless = method == "HEAD"
        self._request = _head(self._peer, method, target, headers)

    async def __aenter__(self) -> Answer:
        connection, used = await self._pool.take(self._peer, fresh=not self._again)
        while True:
            try:
                await connection.ask(self._request, bodiless=self._bodiless)
                break
            except WorkerSilent as exc:
                self._pool.give(connection, self._peer)
                if not used or connection.touched:
                    raise WorkerSilent(f"{masked(self._peer.url)} broke off: {exc}") from exc
            except BaseException:
                self._pool.give(connection, self._peer)
                raise
            connection, used = await self._pool.take(self._peer, fresh=True)
        self._connection = connection
        told = _returned(connection.status, connection.headers)
        return Answer(connection.status, told, connection.length, connection.chunks(), connection.pour)

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            self._pool.give(self._connection, self._peer)


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
    return URL(base.rstrip("/") + _path(target).decode("latin-1"), encoded=True)


def _path(target: bytes | str) -> bytes:
    path = target.encode("latin-1") if isinstance(target, str) else target
    if not path.startswith(b"/") or _NO_TARGET.search(path):
        raise BadRequest(f"not a path: {path.decode('latin-1')!r}", field="path")
    return path


def _head(peer: Peer, method: str, target: bytes, headers: Headers) -> bytes:
    """The bytes of a request without a body."""
    lines = [method.encode(), b" ", peer.prefix, target, b" HTTP/1.1\r\n", peer.named]
    length = method in ("POST", "PUT", "PATCH")
    for name, value in _kept(headers, own_credentials=peer.own_credentials):
        lines += (name, b": ", value, b"\r\n")
        length = length and name.lower() != b"content-length"
    lines.append(b"Content-Length: 0\r\n\r\n" if length else b"\r\n")
    return b"".join(lines)


def _kept(headers: Headers, *, own_credentials: bool) -> list[tuple[bytes, bytes]]:
    """What is the worker's business; with credentials of its own in its URL, it is not shown the client's."""
    drop = _JUDGED
    if named := _named_by_connection(headers):
        drop |= named
    if own_credentials:
        drop |= {b"authorization"}
    kept = []
    for name, value in headers:
        if (lower := name.lower()) in drop or lower.startswith(_JUDGED_PREFIXES):
            continue
        if _NO_VALUE.search(value):
            raise ValueError(f"a header's value has a control character in it: {name!r}")
        kept.append((name, value))
    return kept


def _forwarded(headers: Headers, *, own_credentials: bool) -> CIMultiDict[str]:
    """For aiohttp."""
    return CIMultiDict(
        (name.decode("latin-1"), _text(value)) for name, value in _kept(headers, own_credentials=own_credentials)
    )


def _returned(status: int, headers: Headers) -> list[tuple[bytes, bytes]]:
    """For the client; a 204 or 304 has no body, whatever length it names."""
    drop = _RENEWED
    if named := _named_by_connection(headers):
        drop |= named
    if status in (204, 304):
        drop |= {b"content-length"}
    return [(name, value) for name, value in headers if name.lower() not in drop]


def _named_by_connection(headers: Headers) -> frozenset[bytes]:
    lines = [value for name, value in headers if name.lower() == b"connection"]
    if not lines:
        return frozenset()
    return frozenset(token.strip().lower() for line in lines for token in line.split(b",")) - _NEVER_NAMED


def _text(value: bytes) -> str:
    """As aiohttp will write the same bytes: it encodes headers as UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
