"""The prompts in the store: what is handed to it, what it answers, and its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from gateway.domain.callers import Caller
from gateway.domain.demand import Demand
from gateway.domain.files import OutputFile
from gateway.domain.files.refs import FileRef
from gateway.domain.ids import AttemptId, ClientId, PromptId, WorkerName
from gateway.domain.jobs import Attempt, Outcome
from gateway.domain.placement.estimates import NOTHING, Work


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
    priority: int = 0
    work: Work = NOTHING
    files: frozenset[FileRef] = frozenset()  # that its graph names

    @property
    def whose(self) -> Caller:
        return Caller(self.client_id, self.peer)

    @property
    def caller(self) -> str:
        return self.client_id or self.peer


@dataclass(frozen=True, slots=True)
class Limits:
    max_queue: int
    max_queue_bytes: int
    max_queue_per_caller: int
    patience: float = 30.0  # seconds that a repeated POST waits for the first one's answer


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
    """What becomes of a prompt. `record` is the JSON object of GET /history/{id}'s value, `summary` of /api/jobs,
    `event` its last event as clients get it, `lesson` what its times teach (gateway.domain.learning.lesson)."""

    outcome: Outcome
    record: bytes
    summary: bytes
    event: str = ""
    lesson: str = ""


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

    async def accept_on(self, new: NewPrompt, attempt: Attempt, waits: str, reasons: str = "") -> New:
        """Take a prompt in on a worker's free slot, unseen until `posted`; raises Taken. `reasons` as in `claim`."""
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

    async def over(self, attempt: Attempt) -> bool:
        """Its worker has ended it: the slot is free, though the prompt is not `finish`ed before its record is read.

        False when it is not the current attempt, is to be interrupted, or follows one that is not put away either.
        """
        ...

    async def requeue(
        self,
        attempt: Attempt,
        *,
        haunts: bool,
        crashed: bool,
        min_vram: int = 0,
        refused_by: frozenset[WorkerName] = frozenset(),
    ) -> int | Literal["interrupting"] | None:
        """Back to the queue; `haunts`: the worker may still get or run it. The crashes so far, or None: it moved on.

        "interrupting": its interruption was asked for meanwhile, so that it is to end; nothing was changed.
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

    async def note_files(self, caller: Caller, files: Mapping[OutputFile, str]) -> None:
        """Remember that this caller's prompt wrote these files, and what the farm calls each; the newest of a name
        counts."""
        ...

    async def noted(self, caller: Caller, file: OutputFile) -> str | None:
        """The farm's name of this caller's newest file of a worker's name. Of a caller that is only an address, None
        when prompts of several clients there wrote one of that name."""
        ...

    async def newest(self, type: str, count: int) -> dict[str, float]:
        """The farm's names of files at the top of a folder that were noted last, and when."""
        ...

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
