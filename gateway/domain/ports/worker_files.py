"""The folders of workers, over their own HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from gateway.domain.files.refs import FileRef


@dataclass(frozen=True, slots=True)
class Stat:
    """What a worker says of a file of its own; the ETag changes when the file is written."""

    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class Opened:
    stat: Stat
    chunks: AsyncIterator[bytes]


class WorkerFiles(Protocol):
    """Raises WorkerRefused, WorkerSilent, or WorkerRejected for an answer that is none of what is said here."""

    async def stat(self, url: str, ref: FileRef) -> Stat | None:
        """None when it has no such file."""
        ...

    def open(self, url: str, ref: FileRef) -> AbstractAsyncContextManager[Opened]:
        """The file as it comes. Raises NotFound."""
        ...

    async def send(self, url: str, ref: FileRef, size: int, chunks: AsyncIterable[bytes], timeout: float) -> None:
        """Write it there under this very name. What `chunks` raises comes out as it is."""
        ...

    async def compose(self, url: str, mask: FileRef, size: int, chunks: AsyncIterable[bytes], original: str) -> None:
        """POST /upload/mask: lay the mask over what `original` (its original_ref) names, and keep that as `mask`."""
        ...
