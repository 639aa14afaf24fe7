"""The prompts that system tests post: each makes a picture of one colour, with one model, in a chosen time."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

MODEL_SETS = ("a", "b", "c", "d", "e")
SHARED = "picture"
"""A prefix that many prompts use, so that all workers write files of the same names."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """`number` tells it from the others of a test, and gives its colour."""

    number: int
    model: str = "a"
    seconds: float = 0.0
    prefix: str = SHARED
    steps: int = 0
    """How often it looks whether it is to stop; 0 is ten times a second."""
    load: float = 0.05
    """Seconds to load its model where that is not loaded."""
    kills: bool = False
    """Whether it ends the worker that runs it."""
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def color(self) -> tuple[int, int, int]:
        value = self._color
        return value >> 16, value >> 8 & 255, value & 255

    @property
    def _color(self) -> int:
        return (self.number + 1) * 2654435761 % 2**24  # a bijection: no two numbers give one colour

    def body(self) -> dict[str, Any]:
        """What is posted to /prompt; five clients take turns."""
        client = f"client-{self.number % 5}"
        return {"prompt_id": self.id, "client_id": client, "prompt": self.graph()}

    def graph(self) -> dict[str, Any]:
        empty = {"width": 32, "height": 16, "batch_size": 1, "color": self._color}
        model = {"image": ["1", 0], "model": f"{self.model}.safetensors", "load_seconds": self.load}
        steps = self.steps or max(1, round(self.seconds * 10))
        sleep = {"image": ["2", 0], "seconds": self.seconds, "steps": steps, "seed": self.number, "preview": False}
        graph = {
            "1": {"class_type": "EmptyImage", "inputs": empty},
            "2": {"class_type": "ProbeModel", "inputs": model},
            "3": {"class_type": "ProbeSleep", "inputs": sleep},
            "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": self.prefix}},
        }
        if self.kills:
            graph["3"] = {"class_type": "ProbeFail", "inputs": {"image": ["2", 0], "how": "exit"}}
        return graph


def many(count: int, seconds: float = 0.05) -> list[Prompt]:
    """Of five model sets; every other one names its file as no other does."""
    return [
        Prompt(n, MODEL_SETS[n % len(MODEL_SETS)], seconds, prefix=f"own-{n}" if n % 2 else SHARED)
        for n in range(count)
    ]


def models(letters: str) -> str:
    """The value of --models for these model sets."""
    return ",".join(f"{letter}.safetensors" for letter in letters)
