"""WorkerFiles over a worker's /view and /upload routes, streamed on the pool that carries all bytes."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import aiohttp
from yarl import URL

from gateway.domain.addresses import masked
from gateway.domain.errors import NotFound, WorkerRefused, WorkerRejected, WorkerSilent
from gateway.domain.files.refs import FileRef
from gateway.domain.ports.worker_files import Opened, Stat

_STAT_TIMEOUT = 60.0  # as for a post: a worker that loads a model answers late
_IDLE = 60.0  # a file may take long, but not stand still for longer
_NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_NOT_THERE = frozenset({400, 403, 404})  # as /view says it of a name that it would not even look up


class ComfyFiles:
    def __init__(self, session: aiohttp.ClientSession, *, connect_timeout: float) -> None:
        self._session = session
        self._connect = connect_timeout

    async def stat(self, url: str, ref: FileRef) -> Stat | None:
        limits = aiohttp.ClientTimeout(total=_STAT_TIMEOUT, connect=self._connect)
        with _translated(url):
            async with self._session.head(_view(url, ref), timeout=limits) as reply:
                if reply.status in _NOT_THERE:
                    return None
                await _refuse(reply)
                return _stat(reply)

    @asynccontextmanager
    async def open(self, url: str, ref: FileRef) -> AsyncIterator[Opened]:
        limits = aiohttp.ClientTimeout(total=None, connect=self._connect, sock_read=_IDLE)
        headers = {"Accept-Encoding": "identity"}
        with _translated(url):
            reply = await self._session.get(_view(url, ref), timeout=limits, headers=headers)
        try:
            if reply.status in _NOT_THERE:
                raise NotFound(f"{masked(url)} has no {ref}")
            with _translated(url):
                await _refuse(reply)
            yield Opened(_stat(reply), _read(reply, url))
        finally:
            reply.close()

    async def send(self, url: str, ref: FileRef, size: int, chunks: AsyncIterable[bytes], timeout: float) -> None:
        await self._upload(url + "/upload/image", ref, size, chunks, {}, timeout)

    async def compose(self, url: str, mask: FileRef, size: int, chunks: AsyncIterable[bytes], original: str) -> None:
        await self._upload(url + "/upload/mask", mask, size, chunks, {"original_ref": original}, _IDLE + size / 2**20)

    async def _upload(
        self, url: str, ref: FileRef, size: int, chunks: AsyncIterable[bytes], more: dict[str, str], timeout: float
    ) -> None:
        form = _Form({"type": ref.type, "subfolder": ref.subfolder, "overwrite": "true", **more}, ref.name, chunks)
        limits = aiohttp.ClientTimeout(total=timeout, connect=self._connect)
        try:
            with _translated(url):
                headers = {"Content-Type": form.content_type, "Content-Length": str(form.length(size))}
                async with self._session.post(url, data=aiter(form), headers=headers, timeout=limits) as reply:
                    await _refuse(reply)
        except WorkerSilent:
            if form.failure is not None:
                raise form.failure from None
            raise


class _Form:
    """A multipart body with one file that is not held in memory. It remembers why the file broke off."""

    def __init__(self, fields: dict[str, str], filename: str, chunks: AsyncIterable[bytes]) -> None:
        self._boundary = uuid.uuid4().hex
        self.content_type = f"multipart/form-data; boundary={self._boundary}"
        self._head = b"".join([*(self._field(name, value) for name, value in fields.items()), self._file(filename)])
        self._tail = f"\r\n--{self._boundary}--\r\n".encode()
        self._chunks = chunks
        self.failure: Exception | None = None

    def length(self, size: int) -> int:
        return len(self._head) + size + len(self._tail)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._head
        try:
            async for chunk in self._chunks:
                yield chunk
        except Exception as error:
            self.failure = error
            raise
        yield self._tail

    def _field(self, name: str, value: str) -> bytes:
        return self._part(f'name="{name}"', "") + value.encode() + b"\r\n"

    def _file(self, filename: str) -> bytes:
        quoted = filename.replace("\\", "\\\\").replace('"', '\\"')
        return self._part(f'name="image"; filename="{quoted}"', "Content-Type: application/octet-stream\r\n")

    def _part(self, disposition: str, more: str) -> bytes:
        return f"--{self._boundary}\r\nContent-Disposition: form-data; {disposition}\r\n{more}\r\n".encode()


def _view(url: str, ref: FileRef) -> URL:
    query = {"filename": ref.name, "type": ref.type, "subfolder": ref.subfolder}
    return URL(url + "/view").with_query(query)


def _stat(reply: aiohttp.ClientResponse) -> Stat:
    size = int(reply.headers.get("Content-Length", -1))
    return Stat(size, reply.headers.get("ETag") or f"{reply.headers.get('Last-Modified', '')}-{size}")


async def _refuse(reply: aiohttp.ClientResponse) -> None:
    if reply.status >= 400:
        body = await reply.content.read(2000)
        raise WorkerRejected(reply.status, body, reply.headers.get("Content-Type", ""))


async def _read(reply: aiohttp.ClientResponse, url: str) -> AsyncIterator[bytes]:
    with _translated(url):
        while chunk := await reply.content.readany():
            yield chunk


@contextmanager
def _translated(url: str) -> Iterator[None]:
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        kind = WorkerRefused if isinstance(error, _NEVER_SENT) else WorkerSilent
        raise kind(f"{masked(url)}: {str(error) or type(error).__name__}") from error
