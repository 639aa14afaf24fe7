"""A prompt's frames for a client that did not announce supports_preview_metadata.

A worker sends such a client each preview as binary type 1, after the `progress` it came with; another gets it as
type 4, before that (recordings success_no_flags.json and success.json).
"""

from __future__ import annotations

from dataclasses import replace

from gateway.domain.frames.frame import Frame, Kind
from gateway.domain.frames.rewriting import plain


class Downgrade:
    """Fed with all frames of one prompt, in order."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: Frame | None = None

    def feed(self, frame: Frame) -> list[Frame]:
        """What is to be sent now. A preview waits for the frame that follows it."""
        if frame.kind is Kind.PREVIEW and frame.metadata:
            shown = replace(frame, raw=plain(frame), attempt=None, metadata=False)
            if not frame.jpeg:
                return [*self.flush(), shown]
            before, self._held = self.flush(), shown
            return before
        if self._held is not None and frame.kind is Kind.PROGRESS and frame.node == self._held.node:
            return [frame, *self.flush()]
        return [*self.flush(), frame]

    def flush(self) -> list[Frame]:
        """The preview that waits, if any: when the prompt is over."""
        held, self._held = self._held, None
        return [] if held is None else [held]
