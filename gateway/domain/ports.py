"""What the flows need of the world, each promise in a sentence. Adapters are checked against these."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from gateway.domain.demand import Demand
from gateway.domain.ids import AttemptId, ClientId, PromptId, WorkerName
from gateway.domain.jobs import Attempt, Job, Outcome
from gateway.domain.outputs import OutputFile
from gateway.domain.workers import Worker


@dataclass(frozen=True, slots=True)
class NewPrompt:
    """A prompt to be taken in. `body` is what workers are posted (without secrets), `tail` what clients see."""

    id: PromptId
    digest: str
    number: Literal["auto", "front"] | str  # or the explicit number as JSON text
    client_id: ClientId | None
    peer: str
    demand: Demand
    body: bytes
    tail: bytes
    secrets: Mapping[str, str]
    node_errors: bytes = b"{}"
    refused_by: frozenset[WorkerName] = frozenset()
    crashes: int = 0

    @property
    def caller(self) -> str:
        return self.client_id or self.peer


@dataclass(frozen=True, slots=True)
class Limits:
    max_queue: int
    max_queue_bytes: int
    max_queue_per_caller: int


@dataclass(frozen=True, slots=True)
class New:
    number: str
    seq: int


class Taken(Exception):
    """Root of the answers to `accept` that are not `New`; raised, for each ends the submission its own way."""


class SameAgain(Taken):
    """The id is known with the very same prompt."""


class Conflict(Taken):
    """The id is known with another prompt."""


class CallerFull(Taken):
    pass


class FarmFull(Taken):
    pass


class SlotLost(Taken):
    """The worker's slot was taken, or a prompt began to wait, since the decision was made."""


@dataclass(frozen=True, slots=True)
class Won:
    body: bytes
    secrets: Mapping[str, str]
    attempts: int


@dataclass(frozen=True, slots=True)
class Interruption:
    """What is to be interrupted; a prompt that was not `posted` yet is caught by whoever posts it."""

    attempt: Attempt
    posted: bool


@dataclass(frozen=True, slots=True)
class Ending:
    """What becomes of a prompt. `record` is the JSON object of GET /history/{id}'s value, `summary` of /api/jobs."""

    outcome: Outcome
    record: bytes
    summary: bytes


@dataclass(frozen=True, slots=True)
class Known:
    """What a repeated POST of a known prompt_id is answered with."""

    number: str
    node_errors: bytes
    accepted: bool  # its first answer is still to come


class JobStore(Protocol):
    """The prompts in the store; each method is one atomic step and safe to repeat."""

    async def accept(self, new: NewPrompt, limits: Limits) -> New:
        """Put a validated prompt into the queue; raises Taken."""
        ...

    async def accept_on(self, new: NewPrompt, attempt: Attempt, waits: str) -> New:
        """Take a prompt in on a worker's free slot, unseen until `posted`; raises Taken."""
        ...

    async def adopt(self, new: NewPrompt, worker: WorkerName) -> bool:
        """Take in a prompt that is on a worker already, under its own id; False when it is known."""
        ...

    async def claim(self, attempt: Attempt, reasons: str) -> Won | Literal["busy", "gone"]:
        """Take a waiting prompt for a worker. Exactly one caller wins."""
        ...

    async def posted(
        self, attempt: Attempt, given: AttemptId, more: Mapping[str, bytes]
    ) -> Literal["ok", "interrupt", "gone"]:
        """The worker took it, under the id `given`; `more` are fields of an accepted prompt (tail, node_errors)."""
        ...

    async def started(self, attempt: Attempt) -> bool: ...

    async def requeue(
        self,
        attempt: Attempt,
        *,
        haunts: bool,
        crashed: bool,
        min_vram: int = 0,
        refused_by: frozenset[WorkerName] = frozenset(),
    ) -> int | None:
        """Back to the queue; `haunts`: the worker may still get or run it. The crashes so far, or None: it moved on.

        `min_vram` and `refused_by` narrow where it may go from now on.
        """
        ...

    async def drop(self, attempt: Attempt, *, haunts: bool) -> None:
        """Forget an accepted prompt that was refused or never answered."""
        ...

    async def finish(self, id: PromptId, attempt: Attempt | None, ending: Ending) -> bool:
        """The end; False when the prompt is not in that attempt any more, and nothing was changed."""
        ...

    async def cancel(self, id: PromptId) -> bool: ...

    async def interrupt(self, id: PromptId) -> Interruption | None:
        """Mark for interruption; None when it is on no worker."""
        ...

    async def forget(self, id: PromptId) -> bool:
        """Delete a history record."""
        ...

    async def note_files(self, worker: WorkerName, files: Collection[OutputFile]) -> None:
        """Remember which worker wrote these files; of two with one name the newest counts."""
        ...

    async def worker_of(self, file: OutputFile) -> WorkerName | None: ...

    async def expired(self) -> list[PromptId]:
        """Some prompts at the old end of the history whose record has outlived its time."""
        ...

    async def records(self, ids: Sequence[PromptId]) -> list[bytes | None]: ...

    async def body(self, id: PromptId) -> tuple[bytes, Mapping[str, str]] | None: ...

    async def known(self, id: PromptId) -> Known | None: ...

    async def bury(self, worker: WorkerName, attempt: AttemptId) -> None:
        """Remember that this attempt must not run there, whenever it shows."""
        ...

    async def buried(self, worker: WorkerName) -> set[AttemptId]: ...

    async def unbury(self, worker: WorkerName, attempts: Sequence[AttemptId]) -> None: ...


@dataclass(frozen=True, slots=True)
class Changes:
    """What a replica must read to be as new as `version`; `everything` when it lags too far."""

    version: int
    waits: str
    everything: bool
    prompts: frozenset[PromptId]
    workers: frozenset[WorkerName]


@dataclass(frozen=True, slots=True)
class WorkerEntry:
    """A worker as its owner configured it."""

    name: WorkerName
    url: str
    draining: bool = False
    configured: bool = False  # by the settings of a gateway, not by its API
    leaving: bool = False  # drains, and is removed when it holds nothing any more


class ChangeFeed(Protocol):
    async def since(self, version: int) -> Changes: ...

    async def wait(self, version: int, timeout: float) -> None:
        """Return once something newer than `version` is there, or after `timeout` seconds."""
        ...

    async def jobs(self, ids: Sequence[PromptId]) -> dict[PromptId, Job | None]: ...

    async def all_ids(self) -> list[PromptId]:
        """Of all prompts that are live or in the history."""
        ...


class FarmStore(Protocol):
    async def workers(self) -> dict[WorkerName, Worker]:
        """All workers, with what was last seen of them."""
        ...

    async def put(self, entry: WorkerEntry, *, new: bool = False) -> bool: ...

    async def remove(self, name: WorkerName) -> Literal["ok", "busy", "unknown"]: ...

    async def publish(self, worker: Worker) -> None:
        """Let all replicas see what this one saw."""
        ...

    async def save_catalogue(self, digest: str, raw: bytes) -> None: ...

    async def catalogue(self, digest: str) -> bytes | None: ...

    async def home(self) -> WorkerName | None: ...

    async def set_home(self, name: WorkerName) -> None: ...

    async def lease(self, names: Sequence[str]) -> set[str]:
        """Those of `names` that this replica holds from now on, for the lease's time to live."""
        ...

    async def release(self, names: Sequence[str]) -> None:
        """Give leases back, and be dead to the others: this replica is leaving."""
        ...

    async def alive(self, replica: str) -> bool: ...


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

    async def stats(self, url: str, timeout: float) -> dict[str, Any]: ...

    async def object_info(self, url: str) -> bytes: ...

    async def get(self, url: str, path: str) -> bytes | None:
        """A small read; None for a 404."""
        ...

    async def interrupt(self, url: str, id: str) -> None:
        """Interrupt this very prompt if it is running there."""
        ...

    async def dequeue(self, url: str, id: str) -> None: ...

    async def free(self, url: str, body: bytes) -> None: ...


class EventSource(Protocol):
    """A worker's events, as hints that something happened; the worker's queue and history are what is true."""

    def listen(self, url: str, heard: Callable[[str | None], None]) -> AbstractAsyncContextManager[Callable[[], str]]:
        """Call `heard` with the attempt that an event names, or None for all, for as long as the context lasts.

        The context's value tells the client_id to post with. Connections that break are made again.
        """
        ...


class Recorder(Protocol):
    """Facts for the metrics."""

    def accepted(self) -> None: ...
    def refused(self, reason: str) -> None: ...
    def dispatched(self, reason: str, waited: float, decided: float) -> None: ...
    def ended(self, outcome: str, ran: float, attempts: int) -> None: ...
    def requeued(self, reason: str) -> None: ...
    def stale(self) -> None:
        """Something about an attempt that is not the current one was ignored."""
        ...

    def idle_gap(self, seconds: float) -> None: ...
