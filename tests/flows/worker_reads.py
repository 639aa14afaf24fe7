"""Workers that answer from a dict, as slowly and wrongly as a test wants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gateway.domain.catalogue import Catalogue, Pool
from gateway.domain.errors import WorkerSilent
from gateway.domain.ids import WorkerName
from gateway.domain.workers import Down, Up, Worker
from tests.domain.catalogues import catalogue, info


class FakeReads:
    """`answers[worker][path]` is what it gives; a path that is not there is a 404, and an exception is raised."""

    def __init__(self, **answers: Mapping[str, Any]) -> None:
        self.answers: dict[str, dict[str, Any]] = {name: dict(given) for name, given in answers.items()}
        self.asked: list[tuple[str, str]] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.most_at_once = 0
        self._at_once = 0
        self._pool = Pool()
        self._workers = {name: Worker(WorkerName(name), f"http://{name}", liveness=Up()) for name in answers}

    def workers(self) -> Sequence[Worker]:
        return list(self._workers.values())

    async def get(self, worker: Worker, path: str) -> bytes | None:
        self.asked.append((worker.name, path))
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if gate := self.gates.get(worker.name):
                await gate.wait()
            await asyncio.sleep(0)
            answer = self.answers[worker.name].get(path)
        finally:
            self._at_once -= 1
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, bytes | None) else json.dumps(answer).encode()

    def holds(self, name: str) -> asyncio.Event:
        """From now on that worker answers only once the event is set."""
        self.gates[name] = asyncio.Event()
        return self.gates[name]

    def knows(self, name: str, *classes: str, **combos: list[str]) -> Catalogue:
        """Give the worker a catalogue: these node classes, and a class Load with these combos."""
        infos: dict[str, Any] = {each: info() for each in classes}
        if combos:
            infos["Load"] = info({key: [options, {}] for key, options in combos.items()})
        found = catalogue(infos, self._pool)
        self._workers[name] = replace(self._workers[name], catalogue=found, catalogue_digest=found.digest)
        return found

    def tells(self, name: str, stats: dict[str, Any]) -> None:
        self._workers[name] = replace(self._workers[name], stats=stats)

    def falls(self, name: str) -> None:
        self._workers[name] = replace(self._workers[name], liveness=Down(0.0))
        self.answers[name] = {path: WorkerSilent("down") for path in self.answers[name]}

    def leaves(self, name: str) -> None:
        del self._workers[name]
