"""Workers of different speeds that load, cache and take their time, in arithmetic: what a learner is told of."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from gateway.domain.ids import WorkerName
from gateway.domain.learning import Finding, Learner, Lesson
from gateway.domain.placement import Model, Work

GIB = 2**30


@dataclass
class Machine:
    """Holds the models of its last prompt, as a worker with ComfyUI's classic cache does."""

    name: WorkerName
    speed: float = 1.0
    holds: frozenset[Model] = frozenset()
    parts: tuple[str, ...] = ()


@dataclass
class Farm:
    learner: Learner
    seconds: dict[str, float]
    """Of each part, by its first letter, at speed 1."""
    loads: dict[str, float]
    noise: float = 0.1
    rng: random.Random = field(default_factory=lambda: random.Random(1))
    place: int = 0

    def runs(self, work: Work, on: Machine) -> Finding:
        """A prompt with this work, told to the learner."""
        cached = sum(1 << at for at, part in enumerate(work.parts) if part in on.parts)
        took = sum(self.seconds[part[0]] for part in work.parts if part not in on.parts)
        took += sum(self.loads[model.name] for model in work.models - on.holds)
        took *= math.exp(self.rng.gauss(0, self.noise)) / on.speed
        on.holds, on.parts = work.models or on.holds, work.parts
        self.place += 1
        lesson = Lesson(took, cached, (1 << len(work.parts)) - 1)
        finding = self.learner.ended(work, on.name, lesson, self.place)
        assert finding is not None
        return finding


def picture(model: str, seed: int, shape: str = "s", text: str = "") -> Work:
    """A loader, a text, a sampler with this seed, and a saver."""
    parts = (f"l{model}", f"t{model}{text}", f"k{model}{text}{seed}", f"v{model}{text}{seed}")
    return Work(f"{shape}{model}", "nodes", frozenset({Model(model, 6 * GIB)}), parts, 20.0)
