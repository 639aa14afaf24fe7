"""Where what was learned is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class LessonStore(Protocol):
    async def save(self, learned: Mapping[str, Any]) -> None: ...

    async def load(self) -> dict[str, Any]:
        """What was saved last; empty when there is nothing that can be read."""
        ...
