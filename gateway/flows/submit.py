"""POST /prompt: validated as ComfyUI validates it, on record before any worker is told, answered once.

A free worker that fits gives its own answer, byte for byte. When all that fit are busy, the graph is checked here:
good ones wait, doubtful ones are put to a worker, whose word counts. When those that could are away, it is held.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway.domain import posting
from gateway.domain.callers import Caller
from gateway.domain.decisions import explained
from gateway.domain.errors import (
    CallerQueueFull,
    FarmQueueFull,
    NoWorker,
    PromptRefused,
    StoreUnavailable,
)
from gateway.domain.ids import WorkerName, new_attempt_id
from gateway.domain.jobs import Attempt
from gateway.domain.labels import Wishes, refused
from gateway.domain.placement import Chosen, Placement
from gateway.domain.ports import (
    CallerFull,
    Conflict,
    FarmFull,
    JobStore,
    Limits,
    New,
    NewPrompt,
    PostAnswer,
    Recorder,
    SameAgain,
    SlotLost,
)
from gateway.domain.submission import Submission
from gateway.domain.validation import Invalid, Valid, validate
from gateway.domain.workers import Probe, Worker, probed
from gateway.domain.workflow import input_files
from gateway.flows.attempts import Attempts, SaidNo, Took, Unheard, Unsent, Unstaged
from gateway.flows.bare_names import by_bare_names
from gateway.flows.decisions import Decisions
from gateway.flows.dispatch import confirm
from gateway.flows.forecast import Forecast
from gateway.flows.inquire import Inquire
from gateway.flows.judging import judged, with_verdict
from gateway.flows.mirror import Mirror, just_came
from gateway.flows.reading import Reading
from gateway.flows.replies import Reply, conflict, invalid
from gateway.flows.sharing import Tasks, insisting

log = logging.getLogger(__name__)

_NONE = Wishes()
_DECISIONS = 8
"""How often a decision may be overtaken by another replica's before the prompt just waits in line."""


class Submit:
    def __init__(
        self,
        store: JobStore,
        mirror: Mirror,
        placement: Placement,
        reading: Reading,
        attempts: Attempts,
        inquire: Inquire,
        forecast: Forecast,
        recorder: Recorder,
        tasks: Tasks,
        limits: Limits,
        decisions: Decisions,
    ) -> None:
        self._store = store
        self._mirror = mirror
        self._placement = placement
        self._reading = reading
        self._attempts = attempts
        self._inquire = inquire
        self._forecast = forecast
        self._recorder = recorder
        self._tasks = tasks
        self._limits = limits
        self._decisions = decisions

    async def __call__(self, submission: Submission, caller: Caller, wishes: Wishes = _NONE) -> Reply:
        """Raises PromptRefused for what the gateway itself refuses, StoreUnavailable when nothing can be recorded,
        NoWorker when the same prompt is being judged already and its worker takes long.
        """
        await self._mirror.fresh()
        if (node := submission.wedging_node) is not None:
            return self._wedging(submission, node)
        new = self._reading.prompt(submission, caller, wishes)
        if new.files:
            await self._attempts.staging.use(new.files)
        deadline = time.monotonic() + self._limits.patience
        while True:
            try:
                reply = await self._take(new, submission)
            except SameAgain:
                reply = await self._same_again(new, deadline)
            except Conflict as error:
                raise conflict(new) from error
            except (CallerFull, FarmFull) as error:
                raise self._full(error) from error
            if reply is not None:
                self._recorder.accepted() if reply.status == 200 else self._recorder.refused("worker")
                return reply

    def _wedging(self, submission: Submission, node: str) -> Reply:
        """A node without inputs that ComfyUI's validation does not come to stops its worker for good."""
        verdict = validate(submission.graph, self._reading.catalogues.nodes, targets=submission.targets)
        if isinstance(verdict, Invalid):
            return invalid(verdict)
        text = f"prompt: node {node} has no inputs object"
        raise PromptRefused("invalid_request", text, details=f"Node ID '#{node}'")

    async def _take(self, new: NewPrompt, submission: Submission) -> Reply | None:
        if new.id in self._mirror.jobs:
            await self._store.accept(new, self._limits)  # raises what a known id deserves
        if new.files:
            found = await by_bare_names(new, submission, self._attempts.staging, self._placement.able(new.demand))
            if isinstance(found, Invalid):
                return invalid(found)
            new = found
        refused: dict[WorkerName, PostAnswer] = {}
        for _ in range(_DECISIONS):
            chosen = self._placement.place(just_came(new, new.refused_by.union(refused)), time.time())
            if chosen is None:
                break
            try:
                reply = await self._post(new, submission, chosen, refused)
            except SlotLost:
                await self._mirror.fresh()
                continue
            if reply is not None:
                return reply
        if refused:
            return await self._refused(new, refused)
        return await self._wait_in_line(new, submission)

    async def _refused(self, new: NewPrompt, refused: Mapping[WorkerName, PostAnswer]) -> Reply:
        """The free ones said no; a busy one may have what they lack, and then it waits for that one."""
        no = new.refused_by.union(refused)
        others = [w for w in self._placement.able(new.demand) if w.answers and w.name not in no]
        answer = await self._inquire.ask(new, others)
        if answer is not None and answer.status == 200:
            return await self._hold(replace(new, refused_by=no))
        first = next(iter(refused.values()))
        return Reply(first.status, first.body, first.content_type)

    async def _post(
        self, new: NewPrompt, submission: Submission, chosen: Chosen, refused: dict[WorkerName, PostAnswer]
    ) -> Reply | None:
        """On a free worker; None when somebody else is to be asked. An answer of "no" is kept in `refused`."""
        worker = self._mirror.workers[chosen.worker]
        attempt = Attempt(new.id, worker.name, new_attempt_id())
        shown, record = await self._accepted_on(new, submission, chosen, attempt)
        match await self._attempts.post(worker, attempt, new.body, dict(new.secrets), 1, new.files, new.whose):
            case Took(given, node_errors):
                self._recorder.dispatched(chosen.why, 0.0, None)
                self._decisions.made(chosen, new, time.time())
                return await self._took(shown, record, worker, attempt, given, node_errors)
            case SaidNo(answer):
                await self._store.drop(attempt, haunts=False)
                refused[worker.name] = answer
            case Unsent(error) as unsent:
                self._mirror.believe(probed(worker, unsent.probe, time.time(), str(error)))
                await self._store.drop(attempt, haunts=False)
            case Unstaged(error):
                await self._store.drop(attempt, haunts=False)
                self._placement.gone(new.id, time.time())
                raise error
            case Unheard(error, crashed):
                log.warning("prompt %s: %s did not answer: %s", new.id, worker.name, error)
                probe = Probe.REFUSED if crashed else Probe.MISSED
                self._mirror.believe(probed(worker, probe, time.time(), str(error)))
                await self._store.drop(attempt, haunts=True)
                if crashed:  # perhaps of it: from here on it is counted, in the queue
                    return await self._hold(replace(shown, crashes=1))
        self._placement.gone(new.id, time.time())
        return None

    async def _accepted_on(
        self, new: NewPrompt, submission: Submission, chosen: Chosen, attempt: Attempt
    ) -> tuple[NewPrompt, New]:
        """On record before the worker is told, and as its node list lets it look."""
        verdict = await judged(submission, self._mirror.workers[chosen.worker].catalogue)
        shown = with_verdict(new, submission, verdict) if isinstance(verdict, Valid) else new
        self._placement.runs(just_came(new), chosen.worker, time.time())
        try:
            reasons = json.dumps(explained(chosen))
            return shown, await self._store.accept_on(shown, attempt, self._mirror.waits, reasons)
        except BaseException as lost:
            self._placement.gone(new.id, time.time())
            if isinstance(lost, StoreUnavailable):
                self._tasks.start(self._undo(attempt), f"undo {new.id}")
            raise

    async def _undo(self, attempt: Attempt) -> None:
        """The answer of `accept_on` was lost: it may hold the worker's slot, for a client that was refused."""
        async for again in insisting():
            with again:
                await self._store.drop(attempt, haunts=False)

    async def _took(
        self, new: NewPrompt, record: New, worker: Worker, attempt: Attempt, given: Any, node_errors: bytes
    ) -> Reply | None:
        wanted = await confirm(self._store, self._attempts, worker, attempt, given, node_errors=node_errors)
        if not wanted:
            return None
        return Reply(200, posting.answer(new.id, record.number, node_errors))

    async def _wait_in_line(self, new: NewPrompt, submission: Submission) -> Reply | None:
        """No worker is free for it."""
        able = [w for w in self._placement.able(new.demand) if self._inquire.counts_on(w)]
        if not able:
            return await self._nobody_can(new, submission)
        named = input_files(submission.graph, self._reading.catalogues.nodes) if new.files else ()
        there = await self._attempts.staging.there(named, new.whose)
        verdicts = [await judged(submission, catalogue, there) for catalogue in {w.catalogue for w in able}]
        up = [worker for worker in able if worker.answers]
        good = next((verdict for verdict in verdicts if isinstance(verdict, Valid)), None)
        if good is not None and not (good.doubtful and up):
            return await self._hold(with_verdict(new, submission, good))
        if not up:
            return await self._hold(new)
        bad = [verdict for verdict in verdicts if isinstance(verdict, Invalid)]
        if good is None and not any(verdict.doubtful for verdict in bad):
            return invalid(bad[0])
        return await self._ask(new if good is None else with_verdict(new, submission, good), up)

    async def _nobody_can(self, new: NewPrompt, submission: Submission) -> Reply | None:
        labelled = self._labelled(new.demand.requires)
        up = [worker for worker in labelled if worker.answers]
        if await self._inquire.read_afresh(up):
            new = replace(new, demand=self._reading.demand(submission, new.demand.requires))
            if self._placement.able(new.demand):
                return await self._take(new, submission)
        if not up or self._inquire.may_come_back(labelled):
            return await self._hold(new)
        return await self._ask(new, up)

    def _labelled(self, requires: frozenset[str]) -> list[Worker]:
        """The workers, up or away, that have these labels. Raises PromptRefused when labels are asked that none has."""
        found = [worker for worker in self._mirror.workers.values() if requires <= worker.labels]
        if requires and not found:
            wanted = ", ".join(sorted(requires))
            raise refused("extra_data.requires", f"no worker has the labels {wanted}")
        return found

    async def _ask(self, new: NewPrompt, workers: list[Worker]) -> Reply | None:
        """Put a doubtful prompt to a worker; if it is good after all, it waits in line like any other."""
        answer = await self._inquire.ask(new, workers)
        if answer is None:
            return await self._hold(new)
        if answer.status != 200:
            return Reply(answer.status, answer.body, answer.content_type)
        node_errors = json.dumps(json.loads(answer.body).get("node_errors", {})).encode()
        return await self._hold(replace(new, node_errors=node_errors))

    async def _hold(self, new: NewPrompt) -> Reply:
        record = await self._store.accept(new, self._limits)
        return Reply(200, posting.answer(new.id, record.number, new.node_errors))

    async def _same_again(self, new: NewPrompt, deadline: float) -> Reply | None:
        """The first answer once more; None when the first was a refusal: then this one is the first."""
        while (known := await self._store.known(new.id)) is not None:
            if not known.accepted:
                return Reply(200, posting.answer(new.id, known.number, known.node_errors))
            if time.monotonic() > deadline:
                raise NoWorker(f"prompt {new.id} is still being validated")
            await asyncio.sleep(0.05)
        return None

    def _full(self, error: CallerFull | FarmFull) -> CallerQueueFull | FarmQueueFull:
        after = self._forecast.until_room()
        if isinstance(error, CallerFull):
            self._recorder.refused("caller full")
            details = f"{self._limits.max_queue_per_caller} of your prompts are waiting already."
            return CallerQueueFull("queue_full", "Your queue is full", details=details, retry_after=after)
        self._recorder.refused("farm full")
        return FarmQueueFull("queue_full", "The queue is full", details="Try again later.", retry_after=after)
