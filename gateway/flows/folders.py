"""What is in the output and temp folders of all workers, listed as one folder."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.domain.errors import GatewayError, NoWorker
from gateway.domain.files import Names, bare
from gateway.domain.files.refs import FileRef
from gateway.domain.ports import Comfy, JobStore
from gateway.domain.workers import Worker
from gateway.flows.mirror import Mirror, until

log = logging.getLogger(__name__)

_WITHIN = 5.0
_SURE_WITHIN = 2.0
_TIMES_READ = 2000


@dataclass(frozen=True, slots=True)
class Folders:
    """`shared`: all workers write into one output folder."""

    store: JobStore
    comfy: Comfy
    mirror: Mirror
    shared: bool

    async def listed(self, type: str) -> list[str]:
        """The farm's names of files at the top of these folders, the newest first, as GET /internal/files has them.

        Workers tell an order and no times. Those are known of files that prompts wrote, and put the rest in its place.
        Raises NoWorker when none answers.
        """
        await self.mirror.fresh()
        await until(self.mirror, lambda: all(worker.lives for worker in self._up()), _SURE_WITHIN)
        up = [worker for worker in self._up() if worker.lives]
        up.sort(key=lambda worker: worker.name != self.mirror.home)
        if self.shared and type == "output":
            up = up[:1]
        lists = [found for found in await asyncio.gather(*(self._of(w, type) for w in up)) if found is not None]
        times, uploads = await self.store.newest(type, _TIMES_READ), self._uploads(type)
        if not lists and not uploads:
            raise NoWorker("no worker tells what is in its folders")
        mark = next((mark for rows in lists for _, mark in rows), "")
        sent = {Names(w.name, w.lives, shared=self.shared).of(type, name) for w in up if w.lives for name in uploads}
        lists = [[row for row in rows if row[0] in times or row[0] not in sent] for rows in lists]
        return merged([[(name, mark) for name in uploads], *lists], {**uploads, **times})

    def _uploads(self, type: str) -> dict[str, float]:
        """What was uploaded to the top of this folder, the newest first, and when."""
        inputs = self.mirror.inputs
        known = {name: inputs.get(FileRef(type, name)) for name in inputs.newest(type)}
        return {name: kept.at for name, kept in known.items() if kept is not None}

    def _up(self) -> list[Worker]:
        return [worker for worker in self.mirror.workers.values() if worker.answers]

    async def _of(self, worker: Worker, type: str) -> list[tuple[str, str]] | None:
        """Names in the farm, each with what newer versions write behind it."""
        try:
            async with asyncio.timeout(_WITHIN):
                told = json.loads(await self.comfy.get(worker.url, f"/internal/files/{type}") or b"[]")
        except (GatewayError, TimeoutError, ValueError) as error:
            log.info("worker %s does not tell its %s files: %r", worker.name, type, error)
            return None
        if worker.lives is None:
            return None
        names = Names(worker.name, worker.lives, shared=self.shared)
        parts = [text.partition(f" [{type}]") for text in told if isinstance(text, str)]
        copies = self.mirror.workers  # what has a farm's name on a disk was put there for a prompt that reads it
        return [(names.of(type, name), mark) for name, mark, rest in parts if not rest and not bare(name, copies)]


def merged(lists: Sequence[Sequence[tuple[str, str]]], times: Mapping[str, float]) -> list[str]:
    """Each list stays in its order; a file of unknown age is as old as the next older one of its list."""
    dated: list[tuple[float, str]] = []
    for names in lists:
        at = 0.0
        rows: list[tuple[float, str]] = []
        for name, mark in reversed(names):
            at = max(at, times.get(name, 0.0))
            rows.append((at, name + mark))
        dated += reversed(rows)
    return [name for _, name in sorted(dated, key=lambda row: -row[0])]
