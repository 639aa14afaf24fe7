"""Which models each worker has loaded, as far as can be told from what it ran.

The least recently used goes first, when there is no room. How much room there really is shows when one that was
thought loaded had to be loaded again, or one thought gone was still there: ComfyUI's usual cache, for one, drops the
models of all prompts but the last (contract 7.2), however large the VRAM.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.domain.ids import WorkerName
from gateway.domain.placement.estimates import Model

_AGAIN = 3
_KEPT = 32
"""Models that are remembered of one worker, loaded or not."""


@dataclass(slots=True)
class _Shelf:
    """Models by their last use, the latest last; `room` in bytes as far as it was found out."""

    used: OrderedDict[str, int] = field(default_factory=OrderedDict)
    room: float = math.inf
    empty: bool = False
    last: int = 1  # how many of them the last prompt needed: those are there, whatever they are said to take
    there: int = 0  # how often in a row something was there that was thought gone

    def since(self, models: Collection[Model]) -> float:
        """Bytes of all that was used since the first of these was, them included."""
        names = {model.name for model in models}
        sizes = list(self.used.items())
        first = next((at for at, (name, _) in enumerate(sizes) if name in names), len(sizes))
        return float(sum(size for _, size in sizes[first:]))


class Residency:
    def __init__(self) -> None:
        self._shelves: dict[WorkerName, _Shelf] = {}
        self._share = math.inf  # of its VRAM that a worker was last found to use, for those not found out yet

    def loaded(self, worker: WorkerName, vram: int) -> list[Model]:
        """The least recently used first. `vram` is the worker's, in bytes; 0 when not known."""
        shelf = self._shelves.get(worker)
        if shelf is None or shelf.empty:
            return []
        room = self._room(shelf, vram)
        kept: list[Model] = []
        for name, size in reversed(shelf.used.items()):
            room -= size
            if room < 0 and len(kept) >= shelf.last:
                break
            kept.append(Model(name, size))
        return kept[::-1]

    def missing(self, worker: WorkerName, models: Collection[Model], vram: int) -> frozenset[Model]:
        """Those of a prompt's models that are not loaded there."""
        there = {model.name for model in self.loaded(worker, vram)}
        return frozenset(model for model in models if model.name not in there)

    def ran(self, worker: WorkerName, models: Collection[Model]) -> None:
        """A prompt with these models has run there."""
        shelf = self._shelves.setdefault(worker, _Shelf())
        if shelf.empty:
            shelf.used.clear()
        shelf.empty = shelf.empty and not models
        for model in sorted(models):
            shelf.used.pop(model.name, None)
            shelf.used[model.name] = model.size
        shelf.last = len(models) or shelf.last
        while len(shelf.used) > _KEPT:
            shelf.used.popitem(last=False)

    def emptied(self, worker: WorkerName) -> None:
        """It restarted, ran out of memory, or freed its models."""
        if (shelf := self._shelves.get(worker)) is not None:
            shelf.empty = True

    def may_be_gone(self, worker: WorkerName, models: Collection[Model]) -> bool:
        """Whether anything else came in since these were used last."""
        shelf = self._shelves.get(worker)
        return shelf is not None and shelf.since(models) > sum(model.size for model in models)

    def was_gone(self, worker: WorkerName, models: Collection[Model], vram: int) -> None:
        """These were loaded anew though they were thought to be there: there is less room than was thought, unless
        nothing else came in since."""
        shelf = self._shelves.get(worker)
        if shelf is not None and self.may_be_gone(worker, models):
            shelf.room, shelf.there = min(self._room(shelf, vram), shelf.since(models) - 1.0), 0
            self._share = shelf.room / vram if vram else self._share

    def may_be_there(self, worker: WorkerName, models: Collection[Model]) -> bool:
        """Whether all of these were used there since it was emptied."""
        shelf = self._shelves.get(worker)
        return shelf is not None and not shelf.empty and all(model.name in shelf.used for model in models)

    def was_missing(self, worker: WorkerName) -> None:
        """What was thought gone was gone."""
        if (shelf := self._shelves.get(worker)) is not None:
            shelf.there = 0

    def was_there(self, worker: WorkerName, models: Collection[Model], vram: int) -> None:
        """These were not loaded though they were thought to be gone: there is more room than was thought, if that
        happens again. (Once a load may go unseen.)"""
        shelf = self._shelves.get(worker)
        if shelf is None or shelf.empty or not (used := shelf.since(models)):
            return
        shelf.there += 1
        if shelf.there >= _AGAIN:
            shelf.room = max(self._room(shelf, vram), used)
            self._share = shelf.room / vram if vram else self._share

    def keep(self, workers: Collection[WorkerName]) -> None:
        """Forget all others."""
        self._shelves = {name: shelf for name, shelf in self._shelves.items() if name in workers}

    def _room(self, shelf: _Shelf, vram: int) -> float:
        if shelf.room < math.inf:
            return shelf.room
        return min(vram, self._share * vram) if vram else math.inf

    def dump(self) -> dict[str, Any]:
        shelves = {
            name: [list(shelf.used.items()), _finite(shelf.room), shelf.empty, shelf.last]
            for name, shelf in self._shelves.items()
        }
        return {"shelves": shelves, "share": _finite(self._share)}

    def restore(self, raw: Mapping[str, Any]) -> None:
        for name, (used, room, empty, *last) in raw["shelves"].items():
            pairs = OrderedDict((str(model), int(size)) for model, size in used)
            size = math.inf if room is None else float(room)
            self._shelves[WorkerName(name)] = _Shelf(pairs, size, bool(empty), *map(int, last))
        self._share = math.inf if raw["share"] is None else float(raw["share"])


def _finite(number: float) -> float | None:
    """JSON knows no infinity."""
    return None if number == math.inf else number
