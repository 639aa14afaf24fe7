"""Estimates from what was seen: told how prompts ended, asked what the next ones cost where.

A time of which a load is part teaches the load when it is known how long such a prompt runs, and the run when it is
known how long those models load. A prompt that is slow as a load, or quick as none, corrects what its worker is
thought to have loaded. What failed or was interrupted teaches no times.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from gateway.domain.ids import WorkerName
from gateway.domain.learning.book import MAX_KEYS, Book, all_cached
from gateway.domain.learning.caches import Caches
from gateway.domain.learning.lesson import Lesson
from gateway.domain.learning.residency import Residency
from gateway.domain.placement.estimates import Model, Work

FORMAT = 1
_SHAPES, _ANSWERS = 512, 4096
"""How many shapes, and answers about each, are kept worked out."""
_STALE = 64
"""After how many lessons an answer is worked out anew, though none was about it."""
_LATE = 1000
"""News of an end may come after those of so many later changes, for a prompt is read as it is when it is read."""
_SHOWS = 1.25
"""From this factor on, a load can be told from a slow run."""
_HARDLY = 0.1
_SURE = 3.0
_GUESSES = 256
"""First runs whose time was divided by guesses, until such a prompt runs without loading."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of it, beside what was expected; seconds."""

    predicted: float
    ran: float
    loading: float | None
    """Of what it ran, how much was loading; None when nothing was loaded."""
    cold: bool
    """Its worker had nothing loaded before."""


class _Guess(NamedTuple):
    """A first run: what was cached, seconds in all, and the models that were loaded in them."""

    cached: int
    ran: float
    missing: frozenset[Model]


class Learner:
    """Estimates (gateway.domain.placement.estimates)."""

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self._book = Book(max_keys)
        self._residency = Residency()
        self._caches = Caches()
        self._vram: dict[WorkerName, int] = {}
        self._memo: dict[str, dict[tuple[int, WorkerName], float]] = {}  # by shape
        self._loads: dict[Model, dict[WorkerName, float]] = {}
        self._outgrown: dict[str, int] = {}
        self._guesses: dict[tuple[str, WorkerName], _Guess] = {}
        self._lessons = 0
        self._middling = 1.0
        self._places: set[int] = set()
        self.place = 0
        """The latest end (`Ended.place`) that was learned from."""

    # what is asked

    def run(self, work: Work, worker: WorkerName) -> float:
        cached = self._caches.cached(work, worker) if work.parts else 0
        return self._run(work, cached, worker)

    def load(self, model: Model, worker: WorkerName) -> float:
        """0 before anything was learned, so that placement is plain first come, first served."""
        if not self.place:
            return 0.0
        answers = self._loads.get(model)
        if answers is None:
            if len(self._loads) >= _SHAPES:
                self._loads.clear()
            answers = self._loads[model] = {}
        if (known := answers.get(worker)) is None:
            known = answers[worker] = self._book.load(model, worker)
        return known

    def typical(self, work: Work) -> float:
        """Seconds of running on a middling worker of those there are, with nothing of it in the cache."""
        return self._run(work, 0, WorkerName("")) * self._middling

    def _run(self, work: Work, cached: int, worker: WorkerName) -> float:
        answers = self._memo.get(work.shape)
        if answers is None:
            if len(self._memo) >= _SHAPES:
                self._memo.clear()
            answers = self._memo[work.shape] = {}
        known = answers.get((cached, worker))
        if known is None:
            if len(answers) >= _ANSWERS:
                answers.clear()
            known = answers[cached, worker] = math.exp(self._book.run(work, cached, worker or None))
        return known

    def missing(self, work: Work, worker: WorkerName) -> frozenset[Model]:
        """The models that this worker would have to load."""
        return self._residency.missing(worker, work.models, self._vram.get(worker, 0))

    def loaded(self, worker: WorkerName) -> list[Model]:
        """What it is thought to have loaded, the least recently used first."""
        return self._residency.loaded(worker, self._vram.get(worker, 0))

    def outgrown(self, work: Work) -> int:
        """Bytes of VRAM with which such a prompt ran out of memory; 0 when none did."""
        return self._outgrown.get(work.shape, 0)

    @property
    def changing(self) -> frozenset[str]:
        """Node classes whose results are never taken from a cache."""
        return self._caches.changing

    # what happens

    def workers(self, vram: Mapping[WorkerName, int]) -> None:
        """These are all workers there are, each with its bytes of VRAM."""
        if vram.keys() != self._vram.keys():
            self._residency.keep(vram.keys())
            self._caches.keep(vram.keys())
            self._vram = dict(vram)
            self._loads.clear()
            self._pace()
        self._vram = dict(vram)

    def emptied(self, worker: WorkerName, *, nodes: bool) -> None:
        """Its models are gone; with `nodes` its node cache is too, as after a restart."""
        self._residency.emptied(worker)
        if nodes:
            self._caches.emptied(worker)

    def too_small(self, work: Work, vram: int) -> None:
        """A prompt ran out of memory on a worker with so many bytes, and was to run on a larger one."""
        if work.shape:
            self._outgrown[work.shape] = max(vram, self._outgrown.pop(work.shape, 0))
            if len(self._outgrown) > _SHAPES:
                del self._outgrown[next(iter(self._outgrown))]

    def ended(self, work: Work, worker: WorkerName, lesson: Lesson, place: int) -> Finding | None:
        """To be told about in the order of `place`; what is known already is ignored, and what comes very late."""
        if place in self._places or place <= self.place - _LATE:
            return None
        self._note(place)
        finding = self._teach(work, worker, lesson) if lesson.good else None
        if lesson.oom:
            self._residency.emptied(worker)
        elif lesson.good or lesson.done != lesson.cached:
            self._residency.ran(worker, work.models)
        self._caches.ran(work, worker, lesson)
        self._forget(work)
        return finding

    def _note(self, place: int) -> None:
        self._places.add(place)
        self.place = max(self.place, place)
        if len(self._places) > 2 * _LATE:
            self._places = {place for place in self._places if place > self.place - _LATE}

    def _teach(self, work: Work, worker: WorkerName, lesson: Lesson) -> Finding:
        missing = self.missing(work, worker)
        cold = not self.loaded(worker)
        predicted = self.run(work, worker) + sum(self._book.load(model, worker) for model in missing)
        if all_cached(work, lesson.cached):  # nothing ran, so nothing was loaded
            loading = None
            self._book.teach_run(work, lesson.cached, worker, lesson.ran)
        elif missing:
            loading = self._with_load(work, worker, lesson, missing)
        else:
            loading = self._without_load(work, worker, lesson)
        return Finding(predicted, lesson.ran, loading, cold)

    def _without_load(self, work: Work, worker: WorkerName, lesson: Lesson) -> float | None:
        """All of its models were thought loaded. How long they loaded all the same."""
        run = math.exp(self._book.run(work, lesson.cached, worker))
        pushed_out = self._residency.may_be_gone(worker, work.models)
        if pushed_out and self._shows_load(work, worker, lesson, work.models):
            self._residency.was_gone(worker, work.models, self._vram.get(worker, 0))
            self._teach_loads(work.models, worker, lesson.ran - run)
            return lesson.ran - run
        self._book.teach_run(work, lesson.cached, worker, lesson.ran)
        self._settle(work, worker)
        return None

    def _settle(self, work: Work, worker: WorkerName) -> None:
        """Now it is known how long such a prompt runs, so what is left of its first time was loading."""
        if (guess := self._guesses.pop((work.shape, worker), None)) is None:
            return
        loading = guess.ran - math.exp(self._book.run(work, guess.cached, worker))
        if loading > _HARDLY * guess.ran:
            self._teach_loads(guess.missing, worker, loading)

    def _with_load(self, work: Work, worker: WorkerName, lesson: Lesson, missing: frozenset[Model]) -> float | None:
        """Some models were thought missing. How long they loaded."""
        run = math.exp(self._book.run(work, lesson.cached, worker))
        load = sum(self._book.load(model, worker) for model in missing)
        known = all(self._book.loads_known(model) >= 1 for model in missing)
        if self._book.shape_known(work) < 1:
            return self._first(work, worker, lesson, missing, known)
        if self._residency.may_be_there(worker, missing) and not self._shows_load(work, worker, lesson, missing):
            self._residency.was_there(worker, missing, self._vram.get(worker, 0))
            return None
        self._residency.was_missing(worker)
        loading = max(lesson.ran - run, 0.0)
        if loading > _HARDLY * load:
            self._teach_loads(missing, worker, loading)
        else:  # more likely somebody else brought it there than that it costs nothing
            self._teach_loads(missing, worker, _HARDLY * load, weight=0.3)
        if known and load < lesson.ran:
            self._book.teach_run(work, lesson.cached, worker, lesson.ran - load, 0.5)
        return loading

    def _first(self, work: Work, worker: WorkerName, lesson: Lesson, missing: frozenset[Model], known: bool) -> float:
        """Such a prompt never ran without loading: the time is divided as the guesses are."""
        run = math.exp(self._book.run(work, lesson.cached, worker))
        load = sum(self._book.load(model, worker) for model in missing)
        if known and load < 0.9 * lesson.ran:
            self._book.teach_run(work, lesson.cached, worker, lesson.ran - load, 0.5)
            return load
        sure = self._book.nodes_known(work) >= _SURE and run < 0.9 * lesson.ran
        loading = lesson.ran - run if sure else lesson.ran * load / (load + run)
        self._book.guess_run(work, lesson.cached, worker, lesson.ran - loading)
        if not sure:
            self._guesses[work.shape, worker] = _Guess(lesson.cached, lesson.ran, missing)
            if len(self._guesses) > _GUESSES:
                del self._guesses[next(iter(self._guesses))]
        self._teach_loads(missing, worker, loading, weight=0.5 if sure else 0.2)
        return loading

    def _shows_load(self, work: Work, worker: WorkerName, lesson: Lesson, models: Collection[Model]) -> bool:
        """Whether the time is nearer to that of a run with these loads than to that of one without."""
        run = self._book.run(work, lesson.cached, worker)
        took = math.log(max(lesson.ran, 0.001))
        if self._book.shape_known(work) >= 1 and all(self._book.loads_known(model) > 0 for model in models):
            load = sum(self._book.load(model, worker) for model in models)
            with_load = math.log(math.exp(run) + load)
            return took > (run + with_load) / 2 and took - run > math.log(_SHOWS)
        known = max(self._book.shape_known(work), self._book.nodes_known(work))
        far = max(math.log(2.0), _SURE * self._book.spread(work, lesson.cached, worker))
        return known >= _SURE and took - run > far

    def _teach_loads(self, models: Collection[Model], worker: WorkerName, seconds: float, weight: float = 1.0) -> None:
        """Divide the time among these as their loads are expected."""
        expected = {model: self._book.load(model, worker) for model in models}
        whole = sum(expected.values())
        for model, part in expected.items():
            self._loads.pop(model, None)
            if whole:
                self._book.teach_load(model, worker, seconds * part / whole, weight)

    def _forget(self, work: Work) -> None:
        """Answers about this shape are not true any more; the others hardly changed."""
        self._lessons += 1
        if self._lessons % _STALE == 0:
            self._memo.clear()
            self._loads.clear()
            self._pace()
        else:
            self._memo.pop(work.shape, None)

    def _pace(self) -> None:
        paces = [self._book.pace(worker) for worker in self._vram]
        self._middling = math.exp(sum(paces) / len(paces)) if paces else 1.0

    # keeping

    def dump(self) -> dict[str, Any]:
        """All of it, to be kept as JSON; node caches are not, they are known again after one prompt."""
        return {
            "format": FORMAT,
            "place": self.place,
            "places": sorted(place for place in self._places if place > self.place - _LATE),
            "book": self._book.dump(),
            "residency": self._residency.dump(),
            "changing": self._caches.dump(),
            "outgrown": self._outgrown,
        }

    def restore(self, raw: Mapping[str, Any]) -> None:
        """What another format wrote is left alone: it is learned again."""
        if raw.get("format") != FORMAT:
            return
        self.place, self._places = int(raw["place"]), set(map(int, raw["places"]))
        self._book.restore(raw["book"])
        self._residency.restore(raw["residency"])
        self._caches.restore(raw["changing"])
        self._outgrown = {str(shape): int(vram) for shape, vram in raw.get("outgrown", {}).items()}
