"""What each worker's node cache holds: the nodes of the last prompt that ran there (contract 7.2, classic)."""

from __future__ import annotations

from collections.abc import Collection

from gateway.domain.ids import WorkerName
from gateway.domain.learning.lesson import Lesson
from gateway.domain.placement.estimates import Work

_CONTRADICTIONS = 2
_CLASSES = 256
_MASKS = 64


class Caches:
    """Learns too which classes never have the same result twice, and which workers keep nothing."""

    def __init__(self) -> None:
        self._kept: dict[WorkerName, frozenset[str]] = {}
        self._masks: dict[WorkerName, dict[tuple[str, ...], int]] = {}  # what was worked out of them
        self._broken: dict[WorkerName, int] = {}
        self._contradicted: dict[str, int] = {}

    @property
    def changing(self) -> frozenset[str]:
        """Node classes that ran again though nothing about them had changed."""
        return frozenset(name for name, times in self._contradicted.items() if times >= _CONTRADICTIONS)

    def cached(self, work: Work, worker: WorkerName) -> int:
        """A bit for each part that this worker is expected to have."""
        kept = self._kept.get(worker)
        if not kept or self._broken.get(worker, 0) >= _CONTRADICTIONS:
            return 0
        masks = self._masks.setdefault(worker, {})
        if (mask := masks.get(work.parts)) is None:
            if len(masks) >= _MASKS:
                masks.clear()
            mask = masks[work.parts] = sum(1 << at for at, part in enumerate(work.parts) if part in kept)
        return mask

    def ran(self, work: Work, worker: WorkerName, lesson: Lesson) -> None:
        """What the next prompt there may find; and what this one found against what was expected."""
        kept = self._kept.get(worker, frozenset())
        expected = sum(1 << at for at, part in enumerate(work.parts) if part in kept)
        if lesson.cached:
            self._broken.pop(worker, None)
            for part, node_class in lesson.roots:
                if expected >> part & 1:
                    self._contradict(node_class)
        elif expected:
            self._broken[worker] = self._broken.get(worker, 0) + 1
        done = frozenset(part for at, part in enumerate(work.parts) if lesson.done >> at & 1)
        self._masks.pop(worker, None)
        self._kept[worker] = done | (kept & frozenset(work.parts))

    def emptied(self, worker: WorkerName) -> None:
        self._kept.pop(worker, None)
        self._masks.pop(worker, None)

    def keep(self, workers: Collection[WorkerName]) -> None:
        """Forget all others."""
        for known in (self._kept, self._broken, self._masks):
            for name in known.keys() - set(workers):
                del known[name]

    def dump(self) -> dict[str, int]:
        return dict(self._contradicted)

    def restore(self, raw: dict[str, int]) -> None:
        self._contradicted = {str(name): int(times) for name, times in raw.items()}

    def _contradict(self, node_class: str) -> None:
        self._contradicted[node_class] = self._contradicted.pop(node_class, 0) + 1
        if len(self._contradicted) > _CLASSES:
            del self._contradicted[next(iter(self._contradicted))]
