"""Every ended prompt is a lesson. It goes with the prompt, so all replicas learn the same in the same order; the
leading one writes down what is known. After a restart what was written is read, and the prompts that ended since
then, which are in the history, are learned from again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from gateway.domain.ids import WorkerName
from gateway.domain.jobs import Ended, Job
from gateway.domain.learning import Finding, Learner, lesson
from gateway.domain.placement import Placement
from gateway.domain.ports import LessonStore, Recorder
from gateway.domain.workers import Down
from gateway.flows.mirror import Mirror, News

log = logging.getLogger(__name__)


class Learn:
    def __init__(
        self,
        learner: Learner,
        store: LessonStore,
        mirror: Mirror,
        placement: Placement,
        recorder: Recorder,
        leads: Callable[[], bool],
    ) -> None:
        mirror.listen(self._changed)
        self._learner = learner
        self._store = store
        self._mirror = mirror
        self._placement = placement
        self._recorder = recorder
        self._leads = leads
        self._saved = 0
        self._vram: dict[WorkerName, int] = {}

    async def recall(self) -> None:
        """Read what is known; to be done before the mirror is first read, and safe to leave out."""
        try:
            self._learner.restore(await self._store.load())
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            log.warning("what was learned is left out: %r", error)
        self._saved = self._learner.place

    def _changed(self, news: News) -> None:
        workers = self._mirror.workers
        touched = [workers[name] for name in news.workers if name in workers]
        if len(workers) != len(self._vram) or any(self._vram.get(w.name) != w.vram_total for w in touched):
            if not self._vram:  # all was read anew
                touched = list(workers.values())
            self._vram = {name: worker.vram_total for name, worker in workers.items()}
            self._learner.workers(self._vram)
        for worker in touched:
            if isinstance(worker.liveness, Down):
                self._learner.emptied(worker.name, nodes=True)
        for name, nodes in news.emptied.items():
            self._learner.emptied(name, nodes=nodes)
        for before, job in news.prompts:
            if job is not None and job.demand.min_vram and (before is None or before.demand != job.demand):
                self._learner.too_small(job.work, job.demand.min_vram - 1)
        ended = [(job.state.place, job) for _, job in news.prompts if job is not None and isinstance(job.state, Ended)]
        for _, job in sorted(ended, key=lambda pair: pair[0]):
            self._take(job)

    async def tick(self) -> None:
        """Write down what is new."""
        if self._leads() and self._learner.place != self._saved:
            place = self._learner.place
            await self._store.save(self._learner.dump())
            self._saved = place

    def _take(self, job: Job) -> None:
        told, state = lesson.load(job.lesson), job.state
        if told is None or not isinstance(state, Ended) or state.worker is None:
            return
        finding = self._learner.ended(job.work, state.worker, told, state.place)
        if finding is not None and self._leads():
            self._record(finding)
        self._placement.holds(state.worker, self._learner.loaded(state.worker))

    def _record(self, finding: Finding) -> None:
        if finding.ran:
            self._recorder.predicted(finding.predicted, finding.ran)
        if finding.loading is not None:
            self._recorder.switched("cold" if finding.cold else "other models", finding.loading)
