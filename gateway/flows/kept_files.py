"""Files that the farm itself keeps, to be looked at: found in the index, read from the blob store."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import IO

from gateway.domain.errors import NotFound
from gateway.domain.files.index import Kept
from gateway.domain.files.refs import FileRef
from gateway.domain.ports.blobs import Blobs
from gateway.flows import pictures
from gateway.flows.mirror import Mirror

_IN_MEMORY = 2**22
_AT_ONCE = 2
"""Pictures that are converted at a time: each takes memory by its pixels."""


class KeptFiles:
    def __init__(self, mirror: Mirror, blobs: Blobs) -> None:
        self._mirror = mirror
        self._blobs = blobs
        self._converting = asyncio.Semaphore(_AT_ONCE)

    async def find(self, ref: FileRef) -> Kept | None:
        """As of now, whichever replica took it in."""
        await self._mirror.fresh()
        return self._mirror.inputs.get(ref)

    @asynccontextmanager
    async def open(self, ref: FileRef, start: int = 0, end: int | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        """Raises NotFound. What is written anew in this moment is opened as it is then."""
        kept = await self.find(ref)
        if kept is None:
            raise NotFound(f"there is no {ref}")
        async with self._blobs.open(kept.blob, start, end) as chunks:
            yield chunks

    async def converted(self, kept: Kept, query: Mapping[str, str]) -> tuple[str, bytes]:
        """Content type and bytes; raises what Pillow raises for what is no picture."""
        async with self._converting:
            with tempfile.SpooledTemporaryFile(_IN_MEMORY) as file:
                async with self._blobs.open(kept.blob) as chunks:
                    async for chunk in chunks:
                        await asyncio.to_thread(file.write, chunk)
                return await asyncio.to_thread(_converted, file, query)


def _converted(file: IO[bytes], query: Mapping[str, str]) -> tuple[str, bytes]:
    file.seek(0)
    return pictures.converted(file, query)
