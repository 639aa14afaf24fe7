"""FarmStore over Redis: the workers, what was seen of them, and who looks after which."""

from __future__ import annotations

import json
import uuid
import zlib
from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any, Literal, cast

from redis.asyncio import Redis

from gateway.adapters.redis_keys import DISK_TTL, Keys
from gateway.adapters.redis_scripts import Scripts, translated
from gateway.domain.files import Lives
from gateway.domain.ids import ReplicaId, WorkerName
from gateway.domain.ports import WorkerEntry
from gateway.domain.workers import Down, HalfOpen, Liveness, Suspect, Unknown, Up, Worker

_DAY = 86400


class RedisFarm:
    def __init__(
        self, redis: Redis, run: Scripts, surely: Scripts, keys: Keys, *, replica: ReplicaId, lease_ttl: float
    ) -> None:
        """`surely` are connections that nobody else fills up: a lease that is renewed late is lost."""
        self._redis: Any = redis  # its replies are typed for all settings at once; ours are bytes
        self._keys = keys
        self._run = run
        self._surely = surely
        self._replica = replica
        self._lease_ttl = lease_ttl

    async def workers(self) -> dict[WorkerName, Worker]:
        with translated():
            entries = dict(sorted((await self._redis.hgetall(self._keys.workers)).items()))  # Redis keeps no order
            names = [WorkerName(name.decode()) for name in entries]
            seen = await self._redis.mget([self._keys.seen(name) for name in names]) if names else []
        rows = zip(names, entries.values(), seen, strict=True)
        return {name: _worker(name, json.loads(entry), json.loads(raw or "{}")) for name, entry, raw in rows}

    async def some(self, names: Collection[WorkerName]) -> tuple[dict[WorkerName, Worker], WorkerName | None]:
        names = list(names)
        with translated():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.get(self._keys.home)
                pipe.hmget(self._keys.workers, names)
                pipe.mget([self._keys.seen(name) for name in names])
                home, entries, seen = await pipe.execute()
        rows = [(name, entry, raw) for name, entry, raw in zip(names, entries, seen, strict=True) if entry]
        found = {name: _worker(name, json.loads(entry), json.loads(raw or "{}")) for name, entry, raw in rows}
        return found, WorkerName(home.decode()) if home else None

    async def put(self, entry: WorkerEntry, *, new: bool = False) -> bool:
        k = self._keys
        value = json.dumps(_entry(entry))
        args = [entry.name, value, "new" if new else ""]
        keys = [k.version, k.changes, k.workers, k.home, k.seen(entry.name)]
        return bool(await self._run("worker_put", keys, args))

    async def remove(self, name: WorkerName) -> Literal["ok", "busy", "unknown"]:
        k = self._keys
        keys = [k.version, k.changes, k.workers, k.home, k.held(name), k.seen(name)]
        reply = await self._run("worker_remove", keys, [name])
        return cast(Literal["ok", "busy", "unknown"], reply.decode())

    async def publish(self, worker: Worker) -> None:
        k = self._keys
        value = json.dumps(_seen(worker))
        await self._run("worker_seen", [k.version, k.changes, k.seen(worker.name), k.workers], [worker.name, value])

    async def emptied(self, name: WorkerName, *, nodes: bool) -> None:
        await self._run("emptied", [self._keys.version, self._keys.changes], [name, "r" if nodes else "e"])

    async def save_catalogue(self, digest: str, raw: bytes) -> None:
        key = self._keys.catalogue(digest)
        with translated():
            if not await self._redis.expire(key, _DAY):
                await self._redis.set(key, zlib.compress(raw, 1), ex=_DAY)

    async def catalogue(self, digest: str) -> bytes | None:
        with translated():
            raw = await self._redis.get(self._keys.catalogue(digest))
        return None if raw is None else zlib.decompress(raw)

    async def farm_id(self) -> str:
        key = self._keys.farm_id
        with translated():
            await self._redis.setnx(key, uuid.uuid4().hex)
            return str((await self._redis.get(key)).decode())

    async def lives(self, name: WorkerName) -> dict[str, int]:
        key = self._keys.disk(name)
        with translated():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.hgetall(key)
                pipe.expire(key, DISK_TTL)
                found, _ = await pipe.execute()
        return {type.decode(): int(life) for type, life in found.items()}

    async def begin_life(self, name: WorkerName, type: str, before: int, life: int) -> int:
        return int(await self._run("life", [self._keys.disk(name)], [type, before, life, DISK_TTL]))

    async def home(self) -> WorkerName | None:
        with translated():
            name = await self._redis.get(self._keys.home)
        return WorkerName(name.decode()) if name else None

    async def set_home(self, name: WorkerName) -> None:
        k = self._keys
        await self._run("home", [k.version, k.changes, k.home], [name])

    async def lease(self, names: Sequence[str]) -> set[str]:
        keys = [self._keys.replica(self._replica), *(self._keys.lease(name) for name in names)]
        reply = await self._surely("leases", keys, [self._replica, int(self._lease_ttl * 1000)])
        return {name for name, held in zip(names, reply, strict=True) if held}

    async def release(self, names: Sequence[str]) -> None:
        keys = [self._keys.replica(self._replica), *(self._keys.lease(name) for name in names)]
        await self._run("unlease", keys, [self._replica])

    async def alive(self, replica: str) -> bool:
        with translated():
            return bool(await self._redis.exists(self._keys.replica(replica)))


_LIVENESS: dict[str, type[Any]] = {cls.__name__: cls for cls in (Unknown, Up, Suspect, Down, HalfOpen)}


def _entry(entry: WorkerEntry) -> dict[str, Any]:
    fields = {key: value for key, value in asdict(entry).items() if key not in ("name", "labels")}
    return {**fields, "labels": sorted(entry.labels)} if entry.labels else fields


def _seen(worker: Worker) -> dict[str, Any]:
    return {
        "liveness": [type(worker.liveness).__name__, asdict(worker.liveness)],
        "remaining": worker.remaining,
        "foreign": worker.foreign,
        "vram": [worker.vram_total, worker.vram_free],
        "catalogue": worker.catalogue_digest,
        "stats": worker.stats,
        "away_since": worker.away_since,
        "error": worker.error,
        "sid": worker.sid,
        "lives": asdict(worker.lives) if worker.lives else None,
    }


def _worker(name: WorkerName, entry: dict[str, Any], seen: dict[str, Any]) -> Worker:
    entry["labels"] = frozenset(entry.get("labels", ()))
    if not seen:
        return Worker(name, **entry)
    kind, fields = seen["liveness"]
    liveness: Liveness = _LIVENESS[kind](**fields)
    return Worker(
        name=name,
        **entry,
        liveness=liveness,
        remaining=seen["remaining"],
        foreign=seen["foreign"],
        vram_total=seen["vram"][0],
        vram_free=seen["vram"][1],
        catalogue_digest=seen["catalogue"],
        stats=seen["stats"],
        away_since=seen["away_since"],
        error=seen["error"],
        sid=seen["sid"],
        lives=Lives(**seen["lives"]) if seen.get("lives") else None,
    )
