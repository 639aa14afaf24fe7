"""What passing bytes through to workers needs from the rest of the gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from gateway.domain.ids import WorkerName
from gateway.domain.workers import Worker

Headers = Sequence[tuple[bytes, bytes]]


class Sink(Protocol):
    """Where a body can be written to without waiting, piece by piece: a client's socket."""

    def write(self, data: bytes | memoryview) -> None:
        """Nothing happens when the client is gone."""
        ...

    def pending(self) -> int:
        """At least how many of the bytes that were written it still has to send; these must not change."""
        ...

    def fed_by(self, pace: Callable[[bool], None] | None) -> None:
        """Who is to be told, now and later, whether it is full: True, then wait; False, then go on."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """A worker's response, as far as it has come."""

    status: int
    headers: list[tuple[bytes, bytes]]
    """Without those that belong to one connection only."""
    length: int | None
    """Of the body in bytes, where that is known beforehand."""
    chunks: AsyncIterator[bytes]
    """The body as it comes, undecoded; WorkerSilent when it breaks off."""
    pour: Callable[[Sink], Awaitable[None]] | None = None
    """Instead of `chunks`, where it can be: all of the body into a sink. Raises as `chunks` does."""


class Wire(Protocol):
    def open(
        self, url: str, method: str, target: bytes, headers: Headers, body: AsyncIterator[bytes] | None
    ) -> AbstractAsyncContextManager[Answer]:
        """Send one request to the worker at `url`; leaving the context before the end hangs up.

        `target` is the path and query as the client sent them. Raises WorkerRefused when nothing was sent and
        nothing read from `body`, else WorkerSilent; what `body` raises comes out as it is.
        """
        ...


class Homes(Protocol):
    """Which workers there are for what is passed through; liveness as last seen."""

    def home(self) -> Worker | None:
        """The home worker, up or not; None when the farm has no worker."""
        ...

    def others(self) -> Sequence[Worker]:
        """Workers besides the home that answer, in the farm's order."""
        ...

    def named(self, name: WorkerName) -> Worker | None: ...
