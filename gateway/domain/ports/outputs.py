"""Which outputs the farm keeps itself, so that they outlive their worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.domain.files.index import Kept
from gateway.domain.files.references import OutputFile


class OutputStore(Protocol):
    """By the names that files have in the farm. A record lives as long as a history record."""

    async def find(self, file: OutputFile) -> Kept | None: ...

    async def keep(self, file: OutputFile, kept: Kept) -> None:
        """From now on for that long. Its `digest` is the ETag that its worker gave it."""
        ...

    async def expired(self, count: int) -> list[str]:
        """Some blobs that no record names any more, long enough for readers to be through."""
        ...

    async def forget(self, blobs: Sequence[str]) -> None:
        """These blobs are deleted."""
        ...
