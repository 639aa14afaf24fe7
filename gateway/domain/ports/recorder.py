"""Where the flows report what happened, for the metrics."""

from __future__ import annotations

from typing import Protocol


class Recorder(Protocol):
    """Facts for the metrics."""

    def accepted(self) -> None: ...
    def refused(self, reason: str) -> None: ...
    def dispatched(self, reason: str, waited: float, decided: float | None) -> None:
        """`decided`: how long the decision took, where that was measured; seconds."""
        ...

    def ended(self, outcome: str, ran: float, attempts: int) -> None: ...
    def requeued(self, reason: str) -> None: ...
    def stale(self) -> None:
        """Something about an attempt that is not the current one was ignored."""
        ...

    def predicted(self, expected: float, ran: float) -> None:
        """What a prompt that succeeded was expected to take on its worker, and what it took, in seconds."""
        ...

    def switched(self, reason: str, seconds: float) -> None:
        """A worker loaded models for a prompt."""
        ...

    def idle_gap(self, seconds: float) -> None: ...

    def not_kept(self) -> None:
        """An output could not be copied."""
        ...

    def staged(self, size: int, seconds: float) -> None:
        """A file was sent to a worker."""
        ...

    def not_staged(self, reason: str) -> None:
        """An input file did not get to a worker."""
        ...
