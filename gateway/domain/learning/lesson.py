"""What an ended attempt teaches, in a line that goes with its prompt to every replica."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.domain import records
from gateway.domain.jobs import Outcome
from gateway.domain.placement.estimates import Work
from gateway.domain.shapes import needed

_ROOTS = 8


@dataclass(frozen=True, slots=True)
class Lesson:
    """Masks have a bit for each of the work's parts, the first one lowest."""

    ran: float
    """Seconds by the worker's clock, from execution_start to its end."""
    cached: int = 0
    """Answered from the worker's cache."""
    done: int = 0
    """What is in that cache afterwards."""
    roots: tuple[tuple[int, str], ...] = ()
    """(part, node class) of nodes that ran though all that they depend on was cached."""
    good: bool = True
    """It succeeded: its time counts."""
    oom: bool = False

    def dump(self) -> str:
        fields = [round(self.ran, 4), f"{self.cached:x}", f"{self.done:x}", self.roots, int(self.good), int(self.oom)]
        return json.dumps(fields, separators=(",", ":"))


def load(raw: str) -> Lesson | None:
    """None for what is none."""
    try:
        ran, cached, done, roots, good, oom = json.loads(raw)
        pairs = tuple((int(part), str(node_class)) for part, node_class in roots)
        return Lesson(float(ran), int(cached, 16), int(done, 16), pairs, bool(good), bool(oom))
    except (ValueError, TypeError):
        return None


def lesson_of(record: Mapping[str, Any], work: Work) -> Lesson | None:
    """None when the record does not tell it: times came with ComfyUI 0.1, and a worker may have run another graph."""
    told = dict(records.messages(record))
    graph, outputs = record["prompt"][2], record["prompt"][4]
    start = told.get("execution_start", {}).get("timestamp")
    if start is None or not work.shape or not isinstance(graph, dict):
        return None
    ids = needed(graph, outputs)
    if work.parts and len(ids) != len(work.parts):
        return None
    cached = set(map(str, told.get("execution_cached", {}).get("nodes") or ()))
    outcome = records.outcome_of(record)
    if outcome is Outcome.SUCCEEDED:
        done = set(ids)
    else:
        ended = told.get("execution_error") or told.get("execution_interrupted") or {}
        done = cached | set(map(str, ended.get("executed") or ()))
    return Lesson(
        ran=records.ran_seconds(record),
        cached=_mask(ids, cached),
        done=_mask(ids, done),
        roots=_roots(graph, ids, cached),
        good=outcome is Outcome.SUCCEEDED,
        oom=records.out_of_memory(record),
    )


def _mask(ids: list[str], found: Collection[str]) -> int:
    return sum(1 << at for at, id in enumerate(ids) if id in found)


def _roots(graph: Mapping[str, Any], ids: list[str], cached: Collection[str]) -> tuple[tuple[int, str], ...]:
    """Of the nodes that ran, those whose sources were all cached."""
    ran = {id for id in ids if id not in cached}
    found = []
    for at, id in enumerate(ids):
        inputs = graph[id].get("inputs") or {}
        sources = (str(value[0]) for value in inputs.values() if isinstance(value, list) and value)
        if id in ran and not any(source in ran for source in sources):
            found.append((at, str(graph[id]["class_type"])))
    return tuple(found[:_ROOTS])
