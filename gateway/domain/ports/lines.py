"""A file that grows by lines."""

from __future__ import annotations

from typing import Protocol


class LineFile(Protocol):
    def add(self, line: str) -> None:
        """Have a line written soon; returns at once, and gives up the oldest lines rather than grow."""
        ...

    async def flush(self) -> None:
        """Write what waits."""
        ...
