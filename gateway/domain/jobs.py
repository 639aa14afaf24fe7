"""A prompt's life in the gateway.

accepted → queued → assigned → running → succeeded | failed | interrupted; or cancelled while it waited. An attempt
that is abandoned takes its prompt from assigned or running back to queued. Clients see a prompt from `Queued` on;
`Accepted` is the time before its validation is answered. Times are seconds since the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from gateway.domain.callers import Caller
from gateway.domain.demand import Demand
from gateway.domain.files.refs import FileRef
from gateway.domain.ids import AttemptId, ClientId, PromptId, WorkerName
from gateway.domain.placement.estimates import NOTHING, Work

MAX_OOM_RETRIES = 1
"""An out-of-memory error is tried once more, on a worker with more VRAM; what fails there is the prompt's error."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a prompt on one worker, which knows it as `id`."""

    prompt: PromptId
    worker: WorkerName
    id: AttemptId


@dataclass(frozen=True, slots=True)
class Accepted:
    """On a worker for its validation answer, or about to be; the client has no 200 yet."""

    worker: WorkerName
    attempt: AttemptId
    owner: str  # the replica that will answer


@dataclass(frozen=True, slots=True)
class Queued:
    pass


@dataclass(frozen=True, slots=True)
class Assigned:
    """A worker's slot is taken for it; `posted` once that worker has answered the post with a 200."""

    worker: WorkerName
    attempt: AttemptId
    posted: bool
    since: float
    owner: str  # the replica that posts it


@dataclass(frozen=True, slots=True)
class Running:
    worker: WorkerName
    attempt: AttemptId
    since: float


class Outcome(StrEnum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Ended:
    """Over. `place` orders the history; a cancelled prompt has none (ComfyUI keeps no trace of it either)."""

    outcome: Outcome
    at: float
    place: int
    worker: WorkerName | None
    summary: bytes  # the JSON object of GET /api/jobs, ready to send; empty when cancelled


State = Accepted | Queued | Assigned | Running | Ended


@dataclass(frozen=True, slots=True)
class Job:
    """What every replica knows of a prompt without reading its body."""

    id: PromptId
    state: State
    number: str  # JSON text of ComfyUI's queue number, as the client gave it or as the farm counted
    seq: int  # order of arrival in the farm
    client_id: ClientId | None
    peer: str
    demand: Demand
    created_at: float
    attempts: int = 0
    crashes: int = 0
    ooms: int = 0
    work: Work = NOTHING
    lesson: str = ""  # what its end taught, once it has ended
    priority: int = 0  # -100 to 100, a higher one first
    hard: bool = False  # `front` or an explicit `number`: its place among its client's prompts is meant
    interrupting: bool = False
    over: bool = False  # its worker has said that it ended, and holds no slot for it; the record is still to be read
    refused_by: frozenset[WorkerName] = frozenset()  # workers that said no to it after its client had a 200
    tail: bytes = b""  # the rest of its /queue item after the number; empty once it has ended
    reasons: str = ""  # JSON object: why the worker it is on was taken
    size: int = field(default=0, compare=False)
    files: frozenset[FileRef] = frozenset()  # that its graph names

    @property
    def whose(self) -> Caller:
        return Caller(self.client_id, self.peer)

    @property
    def caller(self) -> str:
        """Whose it is (DESIGN invariant 18): the client_id given, else the peer address."""
        return self.client_id or self.peer

    @property
    def order(self) -> float:
        return float(self.number)

    def item(self) -> bytes:
        """The element of GET /queue: `[number, prompt_id, prompt, extra_data, outputs_to_execute]`."""
        return b"[" + self.number.encode() + self.tail


def is_live(job: Job) -> bool:
    """Seen in /queue: answered with a 200 and not ended."""
    return isinstance(job.state, Queued | Assigned | Running)


def attempt_of(job: Job) -> Attempt | None:
    """The attempt that holds a worker's slot for it, if any."""
    if isinstance(job.state, Accepted | Assigned | Running):
        return Attempt(job.id, job.state.worker, job.state.attempt)
    return None
