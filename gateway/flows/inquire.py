"""Asking a worker what only a worker can say: its node list as of now, its true verdict on a doubtful prompt."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from gateway.domain.errors import BadRequest, WorkerError
from gateway.domain.ids import new_attempt_id
from gateway.domain.jobs import Attempt
from gateway.domain.ports import Comfy, JobStore, NewPrompt, PostAnswer
from gateway.domain.workers import Worker
from gateway.flows.attempts import Attempts, Place, SaidNo, Took
from gateway.flows.catalogues import Catalogues
from gateway.flows.mirror import Mirror

log = logging.getLogger(__name__)

_ASKED_AT_MOST = 3
_TAKE_BACK_TIMEOUT = 30.0
_FRESH_FOR = 2.0


class Inquire:
    def __init__(
        self,
        store: JobStore,
        comfy: Comfy,
        mirror: Mirror,
        catalogues: Catalogues,
        attempts: Attempts,
        *,
        grace: float,
    ) -> None:
        self._store = store
        self._comfy = comfy
        self._mirror = mirror
        self._catalogues = catalogues
        self._attempts = attempts
        self._grace = grace
        self._read_at: dict[str, float] = {}

    def counts_on(self, worker: Worker) -> bool:
        """Whether it is up, or away for so short a time that its prompts are held for it."""
        return worker.answers or worker.away(time.time(), self._grace)

    def may_come_back(self, workers: Iterable[Worker]) -> bool:
        """Whether one that nobody knows the nodes of is away only for the moment."""
        return any(w.catalogue is None and w.away(time.time(), self._grace) for w in workers)

    async def read_afresh(self, workers: Sequence[Worker]) -> bool:
        """Read the node lists of these workers now, unless that was done a moment ago; whether one has changed."""
        due = [w for w in workers if time.monotonic() - self._read_at.get(w.name, -_FRESH_FOR) >= _FRESH_FOR]
        self._read_at = {name: at for name, at in self._read_at.items() if name in self._mirror.workers}
        self._read_at |= dict.fromkeys((w.name for w in due), time.monotonic())
        return any(await asyncio.gather(*(self._read(worker) for worker in due)))

    async def ask(self, new: NewPrompt, workers: Sequence[Worker]) -> PostAnswer | None:
        """A worker's own answer to the prompt, which does not run there; None when none of them could say.

        The first "yes" counts, else the first "no".
        """
        refusal: PostAnswer | None = None
        for worker in sorted(workers, key=self._mirror.load)[:_ASKED_AT_MOST]:
            answer = await self._ask(new, worker)
            if answer is not None and answer.status == 200:
                return answer
            refusal = refusal or answer
        return refusal

    async def _ask(self, new: NewPrompt, worker: Worker) -> PostAnswer | None:
        attempt = Attempt(new.id, worker.name, new_attempt_id())
        await self._store.bury(worker.name, attempt.id)  # whatever happens from here on, it must not run there
        verdict = await self._attempts.post(worker, attempt, new.body, {}, 0, new.files, new.whose)
        if isinstance(verdict, SaidNo):
            await self._store.unbury(worker.name, [attempt.id])
            return verdict.answer
        if not isinstance(verdict, Took):
            return None
        if verdict.given != attempt.id:
            await self._store.bury(worker.name, verdict.given)
        await self._withdraw(worker, replace(attempt, id=verdict.given))
        return PostAnswer(200, b'{"node_errors": ' + verdict.node_errors + b"}")

    async def _withdraw(self, worker: Worker, attempt: Attempt) -> None:
        try:
            async with asyncio.timeout(_TAKE_BACK_TIMEOUT):
                await self._attempts.take_back(worker, attempt.id)
                while await self._attempts.whereabouts(worker, attempt.id) in (Place.RUNNING, Place.PENDING):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            await self._store.unbury(worker.name, [attempt.id])
        except (WorkerError, TimeoutError) as error:
            log.warning("worker %s keeps attempt %s for now: %r", worker.name, attempt.id, error)

    async def _read(self, worker: Worker) -> bool:
        try:
            catalogue = await self._catalogues.save(await self._comfy.object_info(worker.url))
        except (WorkerError, BadRequest) as error:
            log.warning("worker %s: its nodes cannot be read: %s", worker.name, error)
            return False
        if catalogue.digest == worker.catalogue_digest:
            return False
        self._mirror.believe(replace(worker, catalogue=catalogue, catalogue_digest=catalogue.digest))
        return True
