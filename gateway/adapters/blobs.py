"""Blobs over obstore: a folder, S3, Google Cloud Storage or Azure, behind one API.

Each `put` has a key of its own, so that nothing that is being read is ever written, and no object has to be copied to
another name once its digest is known. obstore's exceptions become BlobsUnavailable or NotFound here.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, LocalStore, S3Store, from_url

from gateway.domain.errors import BlobsUnavailable, NotFound
from gateway.domain.media import stored_headers
from gateway.domain.ports.blobs import Blob

_BLOCK = 2**20
"""Bytes that are hashed and handed on at a time."""
_PART = 8 * 2**20
"""Bytes of one part of an upload to an object store, which takes at most 10,000 of them."""
_PARTS_AT_ONCE = 4
_READ = 2**18
_CLIENT = {"connect_timeout": "5s", "timeout": "1h"}  # a whole file may take long; that one breaks off is seen sooner
_RETRY = {"max_retries": 3, "retry_timeout": timedelta(seconds=20)}
_OF_THE_CLIENT = frozenset({"allow_http", "allow_invalid_certificates", "proxy_url"})

Store = Any  # obstore's own union of its stores cannot be told apart by a type checker


def open_store(url: str) -> Store:
    """The store at `url`, or the folder, made if need be, where `url` is a path. Options stand in the query:
    `s3://bucket/prefix?endpoint=http://minio:9000&allow_http=true`; credentials come from the environment.

    Raises ValueError for what is no such URL.
    """
    parts = urlsplit(url)
    if parts.scheme in ("", "file"):
        return LocalStore(Path(parts.path), mkdir=True)
    given = dict(parse_qsl(parts.query))
    client = _CLIENT | {key: _flag(given.pop(key)) for key in _OF_THE_CLIENT & given.keys()}
    bare = parts._replace(query="").geturl()
    options: dict[str, Any] = {"client_options": client, "retry_config": _RETRY, **given}
    try:
        return from_url(bare, **options)
    except BaseError as error:
        raise ValueError(_first_line(error)) from error


class ObjectBlobs:
    """Blobs in one folder of a store. Two of them over different folders know nothing of each other."""

    def __init__(self, store: Store, folder: str) -> None:
        self._store = store
        self._folder = folder
        self._has_urls = isinstance(store, S3Store | GCSStore | AzureStore)

    async def put(self, chunks: AsyncIterable[bytes], name: str = "") -> Blob:
        key = uuid.uuid4().hex
        hashed = _Hashed(chunks)
        options: Any = {"attributes": stored_headers(name)} if name and self._has_urls else {}
        with _translated():
            await obstore.put_async(
                self._store, self._path(key), aiter(hashed), chunk_size=_PART, max_concurrency=_PARTS_AT_ONCE, **options
            )
        return Blob(key, hashed.digest, hashed.size)

    @asynccontextmanager
    async def open(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        if end is not None and end <= start:
            yield _nothing()
            return
        options: Any = {}
        if start or end is not None:
            options["range"] = {"offset": start} if end is None else (start, end)
        with _translated():
            found = await obstore.get_async(self._store, self._path(key), options=options)
        yield _read(found.stream(min_chunk_size=_READ))

    async def delete(self, key: str) -> None:
        try:
            with _translated():
                await obstore.delete_async(self._store, self._path(key))
        except NotFound:
            return

    async def keys(self, older_than: float) -> AsyncIterator[str]:
        latest = time.time() - older_than
        listed = obstore.list(self._store, self._folder, chunk_size=1000)
        with _translated():
            async for batch in listed:
                for one in batch:
                    if one["last_modified"].timestamp() < latest:
                        yield one["path"].rpartition("/")[2]

    async def url(self, key: str, seconds: float) -> str | None:
        if not self._has_urls:
            return None
        with _translated():
            return await obstore.sign_async(self._store, "GET", self._path(key), timedelta(seconds=seconds))

    def _path(self, key: str) -> str:
        return f"{self._folder}/{key}"


class _Hashed:
    """Passes chunks on in blocks and hashes them meanwhile, off the event loop."""

    def __init__(self, chunks: AsyncIterable[bytes]) -> None:
        self._chunks = chunks
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        block = bytearray()
        async for chunk in self._chunks:
            block += chunk
            if len(block) >= _BLOCK:
                yield await self._take(bytes(block))
                block.clear()
        if block:
            yield await self._take(bytes(block))

    async def _take(self, block: bytes) -> bytes:
        self.size += len(block)
        await asyncio.to_thread(self._hash.update, block)
        return block


async def _read(stream: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    with _translated():
        async for chunk in stream:
            yield bytes(chunk)


async def _nothing() -> AsyncIterator[bytes]:
    chunks: tuple[bytes, ...] = ()
    for chunk in chunks:
        yield chunk


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound("the blob is not there") from error
    except (BaseError, OSError) as error:
        raise BlobsUnavailable(f"the blob store: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    """obstore tells the URL, the reason, and then pages of debugging."""
    return str(error).partition("\n")[0] or type(error).__name__


def _flag(value: str) -> str | bool:
    return {"true": True, "false": False}.get(value, value)
