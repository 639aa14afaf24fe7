"""Draining the queue: the leading replica asks placement for the next prompt and posts it, one to a free worker."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable

from gateway.domain.decisions import explained
from gateway.domain.ids import AttemptId, new_attempt_id
from gateway.domain.jobs import Attempt, Job, Outcome
from gateway.domain.placement import Chosen, Placement
from gateway.domain.ports import JobStore, PostAnswer, Recorder, Won
from gateway.domain.workers import Worker, probed
from gateway.flows.attempts import Attempts, SaidNo, Took, Unheard, Unsent, Unstaged, Verdict
from gateway.flows.decisions import Decisions
from gateway.flows.mirror import Mirror, waiting_of
from gateway.flows.sharing import Tasks, insisting

log = logging.getLogger(__name__)

_READ_AGAIN = 2.0
"""Seconds until a prompt whose files cannot be read is tried again."""


class Dispatch:
    """`tick` places all that can be placed. Two replicas that both believe to lead do no harm: claims are atomic."""

    def __init__(
        self,
        store: JobStore,
        mirror: Mirror,
        placement: Placement,
        attempts: Attempts,
        tasks: Tasks,
        recorder: Recorder,
        leads: Callable[[], bool],
        reread: Callable[[Worker], None],
        decisions: Decisions,
    ) -> None:
        self._store = store
        self._mirror = mirror
        self._placement = placement
        self._attempts = attempts
        self._tasks = tasks
        self._recorder = recorder
        self._leads = leads
        self._reread = reread
        self._asked: dict[Attempt, Chosen] = {}  # claims that the store has not answered
        self.decisions = decisions

    async def tick(self) -> None:
        if self._asked:
            await self._mirror.fresh()
        for attempt, asked in list(self._asked.items()):
            await self._take(attempt, asked, 0.0)  # it may have been made, and then nobody else would post it
        lost: set[str] = set()
        while self._leads():
            began = time.perf_counter()
            chosen = self._placement.decide(time.time())
            took = time.perf_counter() - began
            if chosen is None or chosen.id in lost:
                return
            if await self._claim(chosen, took):
                continue
            lost.add(chosen.id)  # what we knew was old: read on, and choose the same at most once more
            await self._mirror.fresh()

    async def _claim(self, chosen: Chosen, decided: float) -> bool:
        if chosen.id not in self._mirror.jobs or chosen.worker not in self._mirror.workers:
            return False
        attempt = Attempt(chosen.id, chosen.worker, new_attempt_id())
        self._asked[attempt] = chosen
        return await self._take(attempt, chosen, decided)

    async def _take(self, attempt: Attempt, chosen: Chosen, decided: float) -> bool:
        """Claim it, and post it if that was won; asked again, a claim gives the same answer."""
        won = await self._store.claim(attempt, json.dumps(explained(chosen)))
        del self._asked[attempt]
        job, worker = self._mirror.jobs.get(attempt.prompt), self._mirror.workers.get(attempt.worker)
        if not isinstance(won, Won) or job is None or worker is None:
            return False
        now = time.time()
        self._recorder.idle_gap(min(self._placement.idle_for(worker.name, now), now - job.created_at))
        self._placement.runs(waiting_of(job), worker.name, now)
        self.decisions.made(chosen, job, now)
        self._recorder.dispatched(chosen.why, now - job.created_at, decided)
        self._tasks.start(self._post(job, attempt, worker, won), f"post {job.id}")
        return True

    async def _post(self, job: Job, attempt: Attempt, worker: Worker, won: Won) -> None:
        verdict = await self._attempts.post(
            worker, attempt, won.body, dict(won.secrets), won.attempts, job.files, job.whose
        )
        async for again in insisting():
            with again:
                await self._settle(job, attempt, worker, verdict)

    async def _settle(self, job: Job, attempt: Attempt, worker: Worker, verdict: Verdict) -> None:
        match verdict:
            case Took(given, _):
                await confirm(self._store, self._attempts, worker, attempt, given)
            case SaidNo(answer):
                await self._rejected(job, attempt, worker, answer)
            case Unsent(error) as unsent:
                self._lost_sight(worker, unsent)
                await self._attempts.abandon(job, attempt, str(error), haunts=False, crashed=False)
            case Unstaged(error):
                await asyncio.sleep(_READ_AGAIN)
                await self._attempts.abandon(job, attempt, str(error), haunts=False, crashed=False)
            case Unheard(error, crashed):
                await self._attempts.abandon(job, attempt, str(error), haunts=True, crashed=crashed)

    async def _rejected(self, job: Job, attempt: Attempt, worker: Worker, answer: PostAnswer) -> None:
        """The rejection came after the client's 200: somebody else who can, else the end, with the worker's words."""
        self._reread(worker)
        refused_by = job.refused_by | {worker.name}
        if any(other.name not in refused_by for other in self._placement.able(job.demand)):
            if await self._attempts.requeue(job, attempt, refused_by=refused_by):
                self._recorder.requeued("refused")
        else:
            await self._attempts.end_here(job, attempt, Outcome.FAILED, answer.body.decode(errors="replace"))

    def _lost_sight(self, worker: Worker, unsent: Unsent) -> None:
        self._mirror.believe(probed(worker, unsent.probe, time.time(), str(unsent.error)))
        self._reread(worker)


async def confirm(
    store: JobStore, attempts: Attempts, worker: Worker, attempt: Attempt, given: AttemptId, **more: bytes
) -> bool:
    """Record that the worker has it; if that is not wanted any more, take it back. Whether it is still wanted."""
    told = await store.posted(attempt, given, more)
    if told == "gone":
        await store.bury(worker.name, given)
    if told != "ok":
        await attempts.take_back(worker, given)
    return told != "gone"
