"""What the catalogue needs to know of workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.domain.workers import Worker


class WorkerReads(Protocol):
    def workers(self) -> Sequence[Worker]:
        """Those that are up or counted on, the home worker first, with their last known catalogues and stats."""
        ...

    async def get(self, worker: Worker, path: str) -> bytes | None:
        """The body of its answer to GET `path` (quoted, with its query); None for a 404.

        Raises WorkerError for anything else. May take as long as it likes: the caller bounds it.
        """
        ...
