"""ChangeFeed over Redis: what changed since a version, and the prompts it names, as values."""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.adapters.redis_client import Line
from gateway.adapters.redis_inputs import kept
from gateway.adapters.redis_keys import Keys
from gateway.adapters.redis_scripts import Arg, Scripts, translated
from gateway.adapters.redis_values import load_demand, load_work
from gateway.domain.demand import Demand
from gateway.domain.files.index import Kept
from gateway.domain.files.refs import FileRef, of_text
from gateway.domain.ids import AttemptId, ClientId, PromptId, WorkerName
from gateway.domain.jobs import Accepted, Assigned, Ended, Job, Outcome, Queued, Running, State
from gateway.domain.placement.estimates import Work
from gateway.domain.ports import Changes

_NAMES = [
    "state",
    "owner",
    "worker",
    "attempt",
    "posted",
    "since",
    "number",
    "seq",
    "client",
    "peer",
    "demand",
    "created",
    "attempts",
    "crashes",
    "hard",
    "interrupting",
    "over",
    "tail",
    "reasons",
    "ended",
    "place",
    "summary",
    "min_vram",
    "refused_by",
    "ooms",
    "size",
    "priority",
    "work",
    "parts",
    "lesson",
    "files",
]
_BATCH = 100
"""Prompts read in one go: some thousands of values, whose reading holds up all else for a few milliseconds."""
_NO_FILES: frozenset[FileRef] = frozenset()
_NO_WORKERS: frozenset[WorkerName] = frozenset()
_QUEUED = Queued()
"""These are shared: a hundred thousand prompts that wait would have one each."""
_ENTRIES = 2000
_DEMANDS_KEPT = 4096


class RedisFeed:
    def __init__(self, redis: Redis, run: Scripts, keys: Keys) -> None:
        self._redis: Any = redis  # its replies are typed for all settings at once; ours are bytes
        self._keys = keys
        self._run = run
        self._version = Line(redis, "GET", keys.version)
        self._demands: dict[tuple[bytes, int], Demand] = {}
        self._works: dict[bytes, Work] = {}

    async def version(self) -> int:
        try:
            return int(await self._version.ask() or 0)
        except (RedisError, OSError, TimeoutError):
            with translated():  # the pool tries again, as often as is worth it
                return int(await self._redis.get(self._keys.version) or 0)

    async def since(self, version: int) -> Changes:
        k = self._keys
        args: list[Arg] = [version, _ENTRIES, k.jobs, _BATCH, *_NAMES]
        reached, waits, how, told, rows = await self._run("changes", [k.version, k.changes, k.waits], args)
        names = [item.decode() for item in told]
        pairs = list(zip(names[::2], names[1::2], strict=True))
        found = {PromptId(id.decode()): row for id, row in zip(rows[::2], rows[1::2], strict=True)}
        return Changes(
            version=int(reached),
            waits=waits.decode(),
            everything=how == b"all",
            more=len(pairs) >= _ENTRIES,
            prompts=frozenset(PromptId(name) for kind, name in pairs if kind == "j"),
            workers=frozenset(WorkerName(name) for kind, name in pairs if kind == "w"),
            emptied={WorkerName(name): ("r", name) in pairs for kind, name in pairs if kind in ("e", "r")},
            files=frozenset(of_text(name) for kind, name in pairs if kind == "f"),
            jobs={id: self._job(id, dict(zip(_NAMES, row, strict=True))) for id, row in found.items()},
        )

    async def wait(self, version: int, timeout: float) -> bool:
        block = max(1, int(timeout * 1000))
        with translated():
            return bool(await self._redis.xread({self._keys.changes: f"{version}-0"}, count=1, block=block))

    async def jobs(self, ids: Sequence[PromptId]) -> dict[PromptId, Job | None]:
        found: dict[PromptId, Job | None] = {}
        for start in range(0, len(ids), _BATCH):
            batch = ids[start : start + _BATCH]
            with translated():
                async with self._redis.pipeline(transaction=False) as pipe:
                    for id in batch:
                        pipe.hmget(self._keys.job(id), _NAMES)
                    rows = await pipe.execute()
            for id, row in zip(batch, rows, strict=True):
                found[id] = self._job(id, dict(zip(_NAMES, row, strict=True)))
        return found

    async def files(self, refs: Sequence[FileRef]) -> dict[FileRef, Kept | None]:
        with translated():
            found = await self._redis.hmget(self._keys.inputs, [str(ref) for ref in refs]) if refs else []
        return {ref: kept(raw) if raw else None for ref, raw in zip(refs, found, strict=True)}

    async def all_files(self) -> dict[FileRef, Kept]:
        with translated():
            found = await self._redis.hgetall(self._keys.inputs)
        return {of_text(name.decode()): kept(raw) for name, raw in found.items()}

    async def all_ids(self) -> list[PromptId]:
        with translated():
            live = await self._redis.zrange(self._keys.live, 0, -1)
            ended = await self._redis.zrange(self._keys.history, 0, -1)
        return [PromptId(id.decode()) for id in dict.fromkeys([*ended, *live])]

    def _job(self, id: PromptId, row: Mapping[str, bytes | None]) -> Job | None:
        state = _state(row)
        if state is None:
            return None
        tail = row["tail"]
        return Job(
            id=id,
            state=state,
            number=_text(row, "number"),
            seq=int(_text(row, "seq")),
            client_id=ClientId(_text(row, "client")) if row["client"] else None,
            peer=_text(row, "peer"),
            demand=self._demand(row["demand"] or b"", int(row["min_vram"] or 0)),
            created_at=_time(row, "created"),
            attempts=int(row["attempts"] or 0),
            crashes=int(row["crashes"] or 0),
            ooms=int(row["ooms"] or 0),
            work=self._work(row["work"] or b"", _text(row, "parts")),
            lesson=_text(row, "lesson"),
            priority=int(row["priority"] or 0),
            files=frozenset(map(of_text, json.loads(row["files"]))) if row["files"] else _NO_FILES,
            hard=row["hard"] == b"1",
            refused_by=frozenset(json.loads(row["refused_by"] or b"[]")) or _NO_WORKERS,
            interrupting=row["interrupting"] == b"1",
            over=row["over"] == b"1",
            tail=zlib.decompress(tail) if tail else b"",
            reasons=_text(row, "reasons"),
            size=int(row["size"] or 0),
        )

    def _work(self, raw: bytes, parts: str) -> Work:
        """Prompts of one shape share all but their parts, and those share what is equal."""
        work = self._works.get(raw)
        if work is None:
            if len(self._works) >= _DEMANDS_KEPT:
                self._works.clear()
            work = self._works[raw] = load_work(raw)
        return replace(work, parts=tuple(map(sys.intern, parts.split()))) if parts else work

    def _demand(self, raw: bytes, min_vram: int) -> Demand:
        """Equal demands are one object, so that 100,000 waiting prompts hold a few of them."""
        demand = self._demands.get((raw, min_vram))
        if demand is None:
            if len(self._demands) >= _DEMANDS_KEPT:
                self._demands.clear()
            demand = self._demands[(raw, min_vram)] = load_demand(raw, min_vram)
        return demand


def _state(row: Mapping[str, bytes | None]) -> State | None:
    name = _text(row, "state")
    worker, attempt = WorkerName(_text(row, "worker")), AttemptId(_text(row, "attempt"))
    if name == "accepted":
        return Accepted(worker, attempt, _text(row, "owner"))
    if name == "queued":
        return _QUEUED
    if name == "assigned":
        since = _time(row, "since")
        return Assigned(worker, attempt, row["posted"] == b"1", since, _text(row, "owner"))
    if name == "running":
        return Running(worker, attempt, _time(row, "since"))
    if not name or (row["place"] is None and name != Outcome.CANCELLED):
        return None
    place = int(row["place"] or 0)
    return Ended(Outcome(name), _time(row, "ended"), place, worker or None, row["summary"] or b"")


def _text(row: Mapping[str, bytes | None], name: str) -> str:
    return (row[name] or b"").decode()


def _time(row: Mapping[str, bytes | None], name: str) -> float:
    return int(row[name] or 0) / 1000
