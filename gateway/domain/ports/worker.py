"""A worker over its own HTTP and its socket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.domain.files import OutputFile


@dataclass(frozen=True, slots=True)
class PostAnswer:
    """A worker's answer to POST /prompt."""

    status: int
    body: bytes
    content_type: str = "application/json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class QueueItem:
    graph: Mapping[str, Any]
    extra_data: Mapping[str, Any]
    outputs: Sequence[str]


@dataclass(frozen=True, slots=True)
class WorkerQueue:
    """GET /queue of a worker, by attempt or foreign id."""

    running: Mapping[str, QueueItem] = field(default_factory=dict)
    pending: Mapping[str, QueueItem] = field(default_factory=dict)

    def __contains__(self, id: object) -> bool:
        return id in self.running or id in self.pending


class Comfy(Protocol):
    """A worker's control API. Raises WorkerRefused, WorkerSilent or WorkerRejected; only reads are ever repeated."""

    async def post_prompt(self, url: str, body: bytes, timeout: float) -> PostAnswer: ...

    async def remaining(self, url: str, timeout: float) -> int: ...

    async def queue(self, url: str) -> WorkerQueue: ...

    async def history(self, url: str, id: str) -> dict[str, Any] | None:
        """One record of the worker's history, or None."""
        ...

    async def newest(self, url: str, count: int) -> dict[str, dict[str, Any]]:
        """The last records of the worker's history by their ids, the last one last."""
        ...

    async def stats(self, url: str, timeout: float) -> dict[str, Any]: ...

    async def object_info(self, url: str) -> bytes: ...

    async def get(self, url: str, path: str) -> bytes | None:
        """A small read; None for a 404."""
        ...

    async def read(self, url: str, file: OutputFile) -> bytes | None:
        """A small file; None when it is not there."""
        ...

    async def write(self, url: str, file: OutputFile, content: bytes) -> None:
        """Put a small file there, over one of that name. A worker that cannot raises WorkerRejected."""
        ...

    async def interrupt(self, url: str, id: str) -> None:
        """Interrupt this very prompt if it is running there."""
        ...

    async def dequeue(self, url: str, id: str) -> None: ...

    async def free(self, url: str, body: bytes) -> None: ...


class Hearing(Protocol):
    """Who listens to a worker. Nothing here may wait."""

    def frame(self, raw: str | bytes) -> None: ...

    def connected(self) -> None: ...

    def lost(self) -> None: ...

    def needs(self, sid: str) -> bool:
        """Whether a prompt that was posted under this client_id may still be running."""
        ...


class Listening(Protocol):
    @property
    def sid(self) -> str:
        """The client_id to post with; empty while there is no connection."""
        ...

    async def joined(self) -> str:
        """The worker answers: connect now. Returns `sid` once it is there, or empty when that takes too long."""
        ...

    async def renew(self) -> None:
        """Make another connection, for this one is deaf."""
        ...


class EventSource(Protocol):
    """A worker's events. Its queue and history are what is true; these say it sooner, and in more detail."""

    def listen(self, url: str, hearing: Hearing, older: str) -> AbstractAsyncContextManager[Listening]:
        """Tell `hearing` what comes for as long as the context lasts; connections that break are made again.

        `older` is a client_id under which another replica listened; it is heard too while it is needed.
        """
        ...
