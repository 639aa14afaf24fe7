"""Where the bytes of files are kept that belong to the farm and not to one worker."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes that were put. The key is of one `put`; equal bytes are told by the digest, and whoever keeps the index
    decides which of two blobs stays."""

    key: str
    digest: str  # SHA-256, lowercase hex
    size: int


class Blobs(Protocol):
    """Raises BlobsUnavailable when the store cannot be reached or refuses."""

    async def put(self, chunks: AsyncIterable[bytes], name: str = "") -> Blob:
        """Keep a stream of any length, never whole in memory. It is there whole or not at all; what `chunks` raises
        comes out as it is. `name` is what a store that gives out URLs calls it to those who fetch it there."""
        ...

    def open(
        self, key: str, start: int = 0, end: int | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The bytes from `start` up to, not including, `end`, as they come. Raises NotFound."""
        ...

    async def delete(self, key: str) -> None:
        """Gone afterwards, whether or not it was there."""
        ...

    def keys(self, older_than: float) -> AsyncIterator[str]:
        """All that were put more than so many seconds ago, for whoever looks for those that nobody knows of."""
        ...

    async def url(self, key: str, seconds: float) -> str | None:
        """Where a client may fetch it itself for so long; None when this store gives out no such URLs."""
        ...
