"""What waiting prompts are kept in: pools of workers, groups of prompts, a line for each caller."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.domain.ids import PromptId, WorkerName
from gateway.domain.placement.estimates import Model
from gateway.domain.placement.waiting import Kind, Waiting

OLDEST = 4


@dataclass(slots=True, eq=False)
class Pool:
    """Workers that the prompts of some kinds fit, as installed, up or not; `kinds` counts those that wait."""

    able: set[WorkerName]
    kinds: dict[Kind, int] = field(default_factory=dict)
    groups: dict[frozenset[Model], Group] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Group:
    """The waiting prompts of one pool that load the same models."""

    pool: Pool
    models: frozenset[Model]
    lines: dict[str, list[Entry]] = field(default_factory=dict)
    firsts: list[tuple[int, float, int, str]] = field(default_factory=list)
    """A heap of each caller with a line; entries that are not true any more stay until they come to the top."""
    count: int = 0
    seconds: float = 0.0
    """Predicted running time of all its prompts."""
    longest: str = ""
    """The caller with the longest line, as far as is known."""
    served_at: int = 0
    """`Lines.served` when a prompt of it was last served, or it was empty."""
    biggest: str = field(init=False)
    """The name of its largest model; empty where it loads none."""

    def __post_init__(self) -> None:
        self.biggest = max(((model.size, model.name) for model in self.models), default=(0, ""))[1]


class Entry(NamedTuple):
    """A prompt's place in its caller's line; sorts by the first three."""

    band: int  # of its priority, the highest first
    number: float
    id: PromptId
    prompt: Waiting
    group: Group
    since: float
    seconds: float  # of running, as was predicted when it came


class Head(NamedTuple):
    """The next prompt of a group; sorts in the order of service."""

    band: int
    key: float  # of its caller
    seq: int
    entry: Entry


def turn_of(line: list[Entry]) -> int:
    """The oldest of a caller's next prompts: one that was sent to the front has its place."""
    return min(entry.prompt.seq for entry in line[:OLDEST])


def in_service(heads: Iterable[Head]) -> list[Head]:
    """By priority, key and turn; but the places that one caller so gets are taken by its prompts in its own order."""
    found = sorted(heads, key=lambda head: head[:3])
    places: dict[tuple[int, str], list[int]] = {}
    for place, head in enumerate(found):
        places.setdefault((head.band, head.entry.prompt.caller), []).append(place)
    served = found.copy()
    for own in places.values():
        if len(own) > 1:
            for place, head in zip(own, sorted((found[p] for p in own), key=lambda h: h.entry[:3]), strict=True):
                served[place] = head
    return served
