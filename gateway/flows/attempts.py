"""One try at a prompt on one worker: posting it, finding out what became of it, ending it, giving it up."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from gateway.domain import records
from gateway.domain.callers import NOBODY, Caller
from gateway.domain.errors import BlobsUnavailable, WorkerError, WorkerRefused, WorkerRejected, WorkerSilent
from gateway.domain.files.refs import FileRef
from gateway.domain.frames import made
from gateway.domain.ids import AttemptId, WorkerName
from gateway.domain.jobs import MAX_OOM_RETRIES, Attempt, Job, Outcome
from gateway.domain.learning import lesson_of
from gateway.domain.placement import Placement
from gateway.domain.ports import Comfy, Ending, FarmStore, JobStore, PostAnswer, Recorder, WorkerQueue
from gateway.domain.posting import body_for_worker
from gateway.domain.workers import Probe, Worker
from gateway.flows.outputs import Outputs
from gateway.flows.pace import Pace
from gateway.flows.staging import NoFiles, Stage

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Took:
    """The worker has it, under the id `given`; the node errors are its own words."""

    given: AttemptId
    node_errors: bytes


@dataclass(frozen=True, slots=True)
class SaidNo:
    answer: PostAnswer


@dataclass(frozen=True, slots=True)
class Unsent:
    """The connection was refused, or its files could not be brought: the worker knows nothing of it."""

    error: WorkerError

    @property
    def probe(self) -> Probe:
        """What that says of the worker."""
        return Probe.REFUSED if isinstance(self.error, WorkerRefused) else Probe.MISSED


@dataclass(frozen=True, slots=True)
class Unheard:
    """Sent, not answered, and not to be found there (yet); `crashed` when the worker is gone since."""

    error: WorkerSilent
    crashed: bool


@dataclass(frozen=True, slots=True)
class Unstaged:
    """Its files cannot be read at the moment, wherever it goes."""

    error: BlobsUnavailable


Verdict = Took | SaidNo | Unsent | Unheard | Unstaged
_Unposted = SaidNo | Unsent | Unstaged | None


class Place(Enum):
    RUNNING = auto()
    PENDING = auto()
    ABSENT = auto()


Whereabouts = Place | dict[str, Any]  # a record, once it has ended


@dataclass(frozen=True, slots=True)
class Tries:
    """After how many `crashes` a prompt is given up, and how many seconds a worker has to answer its post."""

    crashes: int
    post_timeout: float


async def _told_by_nobody(_: Job, __: records.Record) -> None:
    return


class Attempts:
    def __init__(
        self,
        store: JobStore,
        comfy: Comfy,
        placement: Placement,
        recorder: Recorder,
        pace: Pace,
        tries: Tries,
        farm: FarmStore,
        outputs: Outputs,
        staging: Stage | None = None,
    ) -> None:
        self._farm = farm
        self._store = store
        self._comfy = comfy
        self._placement = placement
        self._recorder = recorder
        self._pace = pace
        self._tries = tries
        self._outputs = outputs
        self.staging: Stage = staging or NoFiles()
        self.unheard: Callable[[Job, records.Record], Awaitable[None]] = _told_by_nobody

    async def post(
        self,
        worker: Worker,
        attempt: Attempt,
        kept: bytes,
        secrets: dict[str, Any],
        number: int,
        files: Collection[FileRef] = (),
        caller: Caller = NOBODY,
    ) -> Verdict:
        """Bring an attempt that is on record and its files there, and learn what the worker made of it.

        Never posts twice.
        """
        if files and (failed := await self._staged(worker, files, caller)) is not None:
            return failed
        sid = worker.sid or attempt.id
        body = body_for_worker(kept, secrets, sid=sid, prompt_id=attempt.prompt, attempt=attempt.id, number=number)
        try:
            answer = await self._comfy.post_prompt(worker.url, body, self._tries.post_timeout)
        except WorkerRefused as error:
            return Unsent(error)
        except WorkerSilent as error:
            return await self._reconciled(worker, attempt, error)
        if answer.status == 200:
            return _took(answer, attempt)
        if answer.status >= 500:  # which does not mean that it is not queued (contract 2.4)
            found = await self._reconciled(worker, attempt, WorkerSilent(f"{worker.url} answered {answer.status}"))
            return found if isinstance(found, Took) else SaidNo(answer)
        return SaidNo(answer)

    async def _staged(self, worker: Worker, files: Collection[FileRef], caller: Caller) -> _Unposted:
        try:
            await self.staging.stage(worker, files, caller)
        except WorkerRejected as error:  # its disk may be full: another one may have room
            return SaidNo(_not_taken(worker, error))
        except WorkerError as error:
            return Unsent(error)
        except BlobsUnavailable as error:
            return Unstaged(error)
        return None

    async def whereabouts(self, worker: Worker, id: AttemptId, queue: WorkerQueue | None = None) -> Whereabouts:
        """Queue first, then history: what moves on is not missed. `queue` if it was just read. Raises WorkerError."""
        queue = queue or await self._comfy.queue(worker.url)
        if id in queue:
            return Place.RUNNING if id in queue.running else Place.PENDING
        record = await self._comfy.history(worker.url, id)
        return Place.ABSENT if record is None else record

    async def end(
        self, job: Job, attempt: Attempt, record: dict[str, Any], worker: Worker, *, heard: bool = True
    ) -> None:
        """A worker's record of the attempt is its prompt's, unless a bigger worker may do better. `heard`: whether the
        worker was, from the attempt's start; else its clients are told the results by the record."""
        oom = records.out_of_memory(record)
        if oom:
            await self._farm.emptied(worker.name, nodes=False)
        if oom and self._has_bigger(job, worker):
            bigger = worker.vram_total + 1
            again = await self._store.requeue(attempt, haunts=False, crashed=False, min_vram=bigger)
            if again != "interrupting":
                self._recorder.requeued("out of memory")
                return
        outcome = records.outcome_of(record)
        public = records.public(record, job, attempt.id)
        if not await self._outputs.ended(job, attempt, worker, public):
            return
        if not heard:
            await self.unheard(job, public)
        told = lesson_of(record, job.work)
        if await self._finish(job, attempt, outcome, public, told.dump() if told else ""):
            self._recorder.ended(outcome, records.ran_seconds(record), job.attempts)
        else:
            self._recorder.stale()

    async def abandon(self, job: Job, attempt: Attempt, why: str, *, haunts: bool, crashed: bool) -> None:
        """The attempt came to nothing: its prompt waits again, or ends if it was to be interrupted or kills workers."""
        if job.interrupting:
            await self.end_here(job, attempt, Outcome.INTERRUPTED, why)
        elif crashed and job.crashes + 1 >= self._tries.crashes:
            tries = job.crashes + 1
            await self.end_here(job, attempt, Outcome.FAILED, f"Given up: {tries} workers were lost with it ({why}).")
        elif await self.requeue(job, attempt, haunts=haunts, crashed=crashed):
            log.warning("prompt %s waits again: %s", job.id, why)
            self._recorder.requeued("crash" if crashed else "unanswered")
            return
        if haunts:
            await self._store.bury(attempt.worker, attempt.id)

    async def requeue(
        self,
        job: Job,
        attempt: Attempt,
        *,
        haunts: bool = False,
        crashed: bool = False,
        refused_by: frozenset[WorkerName] = frozenset(),
    ) -> bool:
        """Whether the prompt waits again; one whose interruption was asked for meanwhile ends."""
        told = await self._store.requeue(attempt, haunts=haunts, crashed=crashed, refused_by=refused_by)
        if told == "interrupting":
            await self.end_here(job, attempt, Outcome.INTERRUPTED, "interrupted before it ran")
            return False
        return told is not None

    async def end_here(self, job: Job, attempt: Attempt | None, outcome: Outcome, why: str) -> None:
        """An end that no worker told."""
        if await self._finish(job, attempt, outcome, records.made(job, outcome, why, time.time())):
            self._recorder.ended(outcome, 0.0, job.attempts)

    async def take_back(self, worker: Worker, id: AttemptId) -> None:
        """See to it that this id does not run there: out of the queue, or interrupted. Raises WorkerError."""
        await self._comfy.dequeue(worker.url, id)
        if await self.whereabouts(worker, id) is Place.RUNNING:
            await self._comfy.interrupt(worker.url, id)

    async def _finish(
        self, job: Job, attempt: Attempt | None, outcome: Outcome, record: records.Record, lesson: str = ""
    ) -> bool:
        self._pace.ended()
        summary = json.dumps(records.summary(job, record, outcome)).encode()
        kind, data = records.last_event(record, job, outcome)
        ending = Ending(outcome, json.dumps(record).encode(), summary, made.event(kind, data), lesson)
        return await self._store.finish(job.id, attempt, ending)

    async def _reconciled(self, worker: Worker, attempt: Attempt, error: WorkerSilent) -> Took | Unheard:
        """Ask the worker for an attempt that it did not answer for. One that refuses now has died since."""
        try:
            place = await self.whereabouts(worker, attempt.id)
        except WorkerError as again:
            return Unheard(error, crashed=isinstance(again, WorkerRefused))
        return Unheard(error, crashed=False) if place is Place.ABSENT else Took(attempt.id, b"{}")

    def _has_bigger(self, job: Job, worker: Worker) -> bool:
        able = self._placement.able(job.demand)
        return job.ooms < MAX_OOM_RETRIES and any(other.vram_total > worker.vram_total for other in able)


def _took(answer: PostAnswer, attempt: Attempt) -> Took:
    """Workers from before July 2025 mint an id of their own (contract 2.1)."""
    told = json.loads(answer.body)
    given = told.get("prompt_id", attempt.id)
    return Took(AttemptId(str(given)), json.dumps(told.get("node_errors", {})).encode())


def _not_taken(worker: Worker, error: WorkerRejected) -> PostAnswer:
    """In ComfyUI's shape, for a client that no worker is left for."""
    text = error.body.decode(errors="replace")[:500]
    details = f"Worker {worker.name} did not take an input file: {error.status} {text}"
    told = {"type": "input_not_taken", "message": "An input file could not be sent", "details": details}
    return PostAnswer(502, json.dumps({"error": {**told, "extra_info": {}}, "node_errors": {}}).encode())
