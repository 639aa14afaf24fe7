"""Prompts whose 200 is still under way: what their workers say is told after it, as by one ComfyUI.

There the answer is written before anything that the executor says can be (server.py, `post_prompt` and `publish_loop`),
so client libraries begin to listen once they have it. Here a worker may have begun while its 200 is on its way back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from gateway.domain.ids import PromptId

_AT_MOST = 64  # frames of one prompt: whose answer takes longer than that is told all the same
_PATIENCE = 1.0
_MOMENT = 0.02
"""Seconds after the answer, in which a client begins to listen; one ComfyUI takes some milliseconds to begin."""


class Early:
    def __init__(self) -> None:
        self._kept: dict[PromptId, list[Callable[[], None]]] = {}
        self._moved = asyncio.Event()  # set for a moment, so that all who wait look again

    def __contains__(self, id: PromptId) -> bool:
        return id in self._kept

    def posted(self, id: PromptId) -> None:
        """What comes of this prompt is kept, until `answered`."""
        self._kept.setdefault(id, [])

    def sent(self, id: PromptId) -> None:
        """The answer is on its way to the client."""
        if id in self._kept:
            asyncio.get_running_loop().call_later(_MOMENT, self.answered, id)

    def answered(self, id: PromptId) -> None:
        """Tell what was kept; nothing the second time."""
        for tell in self._kept.pop(id, ()):
            tell()
        self._moved.set()
        self._moved.clear()

    def tell(self, id: PromptId, tell: Callable[[], None]) -> None:
        """At once, or after the answer and what was kept before."""
        if (kept := self._kept.get(id)) is None:
            tell()
            return
        kept.append(tell)
        if len(kept) >= _AT_MOST:
            self.answered(id)

    async def told(self, id: PromptId) -> None:
        """Return when nothing of this prompt is kept, or after a second: its end is held up no longer."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                while id in self._kept:
                    await self._moved.wait()
