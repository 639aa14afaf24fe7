"""The prompts in Redis: JobStore over the Lua operations. Times are Redis' own, so replicas need no common clock."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Literal, cast

from redis.asyncio import Redis

from gateway.adapters.redis_keys import EVENTS_TTL, FILES_LISTED, Keys
from gateway.adapters.redis_scripts import Arg, Scripts, translated
from gateway.adapters.redis_values import dump_demand, dump_work
from gateway.domain.callers import Caller
from gateway.domain.files import OutputFile
from gateway.domain.ids import AttemptId, PromptId, ReplicaId, WorkerName, new_attempt_id
from gateway.domain.jobs import Attempt
from gateway.domain.placement.spots import DEPTH
from gateway.domain.ports import (
    CallerFull,
    Conflict,
    Ending,
    FarmFull,
    Interruption,
    Known,
    Limits,
    New,
    NewPrompt,
    SameAgain,
    SlotLost,
    Won,
)

_REFUSALS = {
    b"same": SameAgain,
    b"conflict": Conflict,
    b"yours": CallerFull,
    b"full": FarmFull,
    b"busy": SlotLost,
    b"stale": SlotLost,
}
_NO_LIMITS = Limits(0, 0, 0)
_FILES_AT_ONCE = 250
_LEVEL = 1  # a prompt compresses well at any level, and this one costs a third of the default's time


class RedisJobs:
    def __init__(
        self, redis: Redis, run: Scripts, keys: Keys, *, replica: ReplicaId, history_max: int, history_ttl: float
    ) -> None:
        self._redis: Any = redis  # its replies are typed for all settings at once; ours are bytes
        self._keys = keys
        self._run = run
        self._replica = replica
        self._history_max = history_max
        self._history_ttl = max(1, int(history_ttl))

    async def accept(self, new: NewPrompt, limits: Limits) -> New:
        nowhere = Attempt(new.id, WorkerName(""), new_attempt_id())
        return await self._accept(new, limits, "wait", nowhere, "")

    async def accept_on(self, new: NewPrompt, attempt: Attempt, waits: str, reasons: str = "") -> New:
        return await self._accept(new, _NO_LIMITS, "post", attempt, waits, "reasons", reasons)

    async def _accept(self, new: NewPrompt, limits: Limits, how: str, attempt: Attempt, waits: str, *more: Arg) -> New:
        k = self._keys
        keys = [k.version, k.changes, k.number, k.waits, k.live, k.waiting, k.load]
        keys += [k.job(new.id), k.secret(new.id), k.held(attempt.worker), k.record(new.id), k.history, k.workers]
        body = zlib.compress(new.body, _LEVEL)
        tail = zlib.compress(new.tail, _LEVEL)
        args: list[Arg] = [new.id, new.digest, new.number, new.caller, _size(new)]
        args += [limits.max_queue, limits.max_queue_bytes, limits.max_queue_per_caller]
        args += [_secrets(new), how, attempt.worker, waits, DEPTH]
        args += [self._replica, attempt.id, *_fields(new, body, tail), *more]
        reply = await self._run("accept", keys, args)
        if refusal := _REFUSALS.get(reply[0]):
            raise refusal(new.id)
        return New(reply[1].decode(), int(reply[2]))

    async def adopt(self, new: NewPrompt, worker: WorkerName) -> bool:
        k = self._keys
        body, tail = zlib.compress(new.body, _LEVEL), zlib.compress(new.tail, _LEVEL)
        keys = [k.version, k.changes, k.number, k.live, k.job(new.id), k.held(worker), k.secret(new.id)]
        args: list[Arg] = [new.id, worker, new.caller, _size(new), _secrets(new), "digest", new.digest]
        return bool(await self._run("adopt", keys, [*args, *_fields(new, body, tail)]))

    async def claim(self, attempt: Attempt, reasons: str) -> Won | Literal["busy", "gone"]:
        k, id, worker = self._keys, attempt.prompt, attempt.worker
        keys = [k.version, k.changes, k.waiting, k.load, k.job(id), k.held(worker), k.secret(id), k.workers]
        reply = await self._run("claim", keys, [id, worker, attempt.id, DEPTH, self._replica, reasons])
        if reply[0] != b"won":
            return cast(Literal["busy", "gone"], reply[0].decode())
        return Won(zlib.decompress(reply[1]), json.loads(reply[2] or "{}"), int(reply[3]))

    async def posted(
        self, attempt: Attempt, given: AttemptId, more: Mapping[str, bytes]
    ) -> Literal["ok", "interrupt", "gone"]:
        k = self._keys
        pairs: list[Arg] = [p for name, value in more.items() for p in (name, _packed(name, value))]
        reply = await self._run(
            "posted",
            [k.version, k.changes, k.job(attempt.prompt), k.held(attempt.worker)],
            [attempt.prompt, attempt.id, given, *pairs],
        )
        return cast(Literal["ok", "interrupt", "gone"], reply.decode())

    async def started(self, attempt: Attempt) -> bool:
        k = self._keys
        keys = [k.version, k.changes, k.job(attempt.prompt)]
        return bool(await self._run("started", keys, [attempt.prompt, attempt.id]))

    async def over(self, attempt: Attempt) -> bool:
        k = self._keys
        keys = [k.version, k.changes, k.job(attempt.prompt), k.held(attempt.worker)]
        return bool(await self._run("over", keys, [attempt.prompt, attempt.id]))

    async def requeue(
        self,
        attempt: Attempt,
        *,
        haunts: bool,
        crashed: bool,
        min_vram: int = 0,
        refused_by: frozenset[WorkerName] = frozenset(),
    ) -> int | Literal["interrupting"] | None:
        pairs: list[Arg] = ["min_vram", min_vram, "ooms", 1] if min_vram else []
        pairs += ["refused_by", json.dumps(sorted(refused_by))] if refused_by else []
        reply = await self._release(attempt, haunts, crashed, "queue", pairs)
        if reply[0] == b"interrupting":
            return "interrupting"
        return int(reply[1]) if reply[0] == b"ok" else None

    async def drop(self, attempt: Attempt, *, haunts: bool) -> None:
        await self._release(attempt, haunts, False, "drop", [])

    async def _release(
        self, attempt: Attempt, haunts: bool, crashed: bool, how: str, pairs: Sequence[Arg]
    ) -> list[bytes]:
        k, id, worker = self._keys, attempt.prompt, attempt.worker
        keys = [k.version, k.changes, k.waits, k.live, k.waiting, k.load]
        keys += [k.job(id), k.held(worker), k.buried(worker), k.secret(id)]
        args: list[Arg] = [id, attempt.id, int(haunts), int(crashed), how, *pairs]
        return cast("list[bytes]", await self._run("release", keys, args))

    async def finish(self, id: PromptId, attempt: Attempt | None, ending: Ending) -> bool:
        k = self._keys
        worker = attempt.worker if attempt else WorkerName("")
        keys = [k.version, k.changes, k.live, k.waiting, k.load, k.history]
        keys += [k.job(id), k.held(worker), k.record(id), k.secret(id), k.events(id)]
        record = zlib.compress(ending.record, _LEVEL)
        args: list[Arg] = [id, attempt.id if attempt else "", ending.outcome, record, ending.summary]
        args += [self._history_ttl, self._history_max, k.jobs, k.records, ending.event, EVENTS_TTL, ending.lesson]
        return bool(await self._run("finish", keys, args))

    async def cancel(self, id: PromptId) -> bool:
        k = self._keys
        keys = [k.version, k.changes, k.live, k.waiting, k.load, k.job(id), k.secret(id)]
        return bool(await self._run("cancel", keys, [id]))

    async def interrupt(self, id: PromptId) -> Interruption | None:
        k = self._keys
        reply = await self._run("interrupt", [k.version, k.changes, k.job(id)], [id])
        if not reply:
            return None
        attempt = Attempt(id, WorkerName(reply[0].decode()), AttemptId(reply[1].decode()))
        return Interruption(attempt, posted=reply[2] == b"1")

    async def forget(self, id: PromptId) -> bool:
        k = self._keys
        return bool(await self._run("forget", [k.version, k.changes, k.history, k.job(id), k.record(id)], [id]))

    async def note_files(self, caller: Caller, files: Mapping[OutputFile, str]) -> None:
        k, whose, now = self._keys, _whose(caller), int(time.time() * 1000)
        rest = iter(files.items())
        while some := list(islice(rest, _FILES_AT_ONCE)):
            keys = [k.written("output"), k.written("temp")]
            keys += [k.file(file, who) for file, _ in some for who in whose]
            rows: list[Arg] = [caller.client_id or "", self._history_ttl, FILES_LISTED, now, len(whose)]
            for file, name in some:
                rows += [name.encode("utf-8", "surrogatepass"), _listed(file)]
            await self._run("note_files", keys, rows)

    async def noted(self, caller: Caller, file: OutputFile) -> str | None:
        with translated():
            name, many = await self._redis.hmget(self._keys.file(file, _whose(caller)[0]), ["name", "many"])
        return None if name is None or many else str(name.decode("utf-8", "surrogatepass"))

    async def newest(self, type: str, count: int) -> dict[str, float]:
        with translated():
            rows = await self._redis.zrange(self._keys.written(type), 0, count - 1, desc=True, withscores=True)
        return {name.decode("utf-8", "surrogatepass"): at / 1000 for name, at in rows}

    async def expired(self) -> list[PromptId]:
        with translated():
            oldest = [PromptId(id.decode()) for id in await self._redis.zrange(self._keys.history, 0, 99)]
            async with self._redis.pipeline(transaction=False) as pipe:
                for id in oldest:
                    pipe.exists(self._keys.record(id))
                there = await pipe.execute()
        return [id for id, found in zip(oldest, there, strict=True) if not found]

    async def records(self, ids: Sequence[PromptId]) -> list[bytes | None]:
        if not ids:
            return []
        with translated():
            found = await self._redis.mget([self._keys.record(id) for id in ids])
        return [None if raw is None else zlib.decompress(raw) for raw in found]

    async def body(self, id: PromptId) -> tuple[bytes, Mapping[str, str]] | None:
        with translated():
            raw = await self._redis.hget(self._keys.job(id), "body")
            secrets = await self._redis.get(self._keys.secret(id))
        return None if raw is None else (zlib.decompress(raw), json.loads(secrets or "{}"))

    async def known(self, id: PromptId) -> Known | None:
        with translated():
            number, errors, state = await self._redis.hmget(self._keys.job(id), ["number", "node_errors", "state"])
        if number is None:
            return None
        return Known(number.decode(), _unpacked(errors) or b"{}", state == b"accepted")

    async def bury(self, worker: WorkerName, attempt: AttemptId) -> None:
        key = self._keys.buried(worker)
        with translated():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.zadd(key, {attempt: 0})
                pipe.expire(key, 86400)
                await pipe.execute()

    async def buried(self, worker: WorkerName) -> set[AttemptId]:
        with translated():
            found = await self._redis.zrange(self._keys.buried(worker), 0, -1)
        return {AttemptId(id.decode()) for id in found}

    async def unbury(self, worker: WorkerName, attempts: Sequence[AttemptId]) -> None:
        if attempts:
            with translated():
                await self._redis.zrem(self._keys.buried(worker), *attempts)


def _whose(caller: Caller) -> list[str]:
    """Whose files they are, the client's first: one that gives a client_id is not looked for by address."""
    by_address = f"address {caller.peer}"
    return [f"client {caller.client_id}", by_address] if caller.client_id else [by_address]


def _listed(file: OutputFile) -> str:
    """The type, where ComfyUI would list it: at the top of its folder."""
    return "" if file.subfolder else file.type


def _secrets(new: NewPrompt) -> str:
    return json.dumps(dict(new.secrets)) if new.secrets else ""


def _size(new: NewPrompt) -> int:
    """What it takes in the memory of each replica, which keeps the tail as it is; the store keeps less."""
    return len(new.body) + len(new.tail)


def _fields(new: NewPrompt, body: bytes, tail: bytes) -> list[Arg]:
    return [
        *("client", new.client_id or "", "peer", new.peer, "hard", int(new.number != "auto")),
        *("demand", dump_demand(new.demand), "body", body, "tail", tail),
        *("node_errors", _packed("node_errors", new.node_errors)),
        *("refused_by", json.dumps(sorted(new.refused_by)), "crashes", new.crashes),
        *(("priority", new.priority) if new.priority else ()),
        *(("min_vram", new.demand.min_vram) if new.demand.min_vram else ()),
        *(("work", dump_work(new.work), "parts", " ".join(new.work.parts)) if new.work.shape else ()),
        *(("files", json.dumps(sorted(map(str, new.files)))) if new.files else ()),
    ]


def _packed(name: str, value: bytes) -> bytes:
    return zlib.compress(value, _LEVEL) if name in ("tail", "node_errors") else value


def _unpacked(value: bytes | None) -> bytes:
    return zlib.decompress(value) if value else b""
