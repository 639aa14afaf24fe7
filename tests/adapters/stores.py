"""The state as one replica has it, for tests of the Redis adapters."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from gateway.adapters.redis_client import connect
from gateway.adapters.redis_farm import RedisFarm
from gateway.adapters.redis_feed import RedisFeed
from gateway.adapters.redis_jobs import RedisJobs
from gateway.adapters.redis_keys import Keys
from gateway.adapters.redis_scripts import Arg, Scripts
from gateway.domain.demand import Choice, Demand
from gateway.domain.ids import AttemptId, ClientId, PromptId, ReplicaId, WorkerName
from gateway.domain.jobs import Attempt, Job, Outcome
from gateway.domain.ports import Ending, Limits, NewPrompt

KEYS = Keys("test")
ROOM = Limits(max_queue=1000, max_queue_bytes=10**9, max_queue_per_caller=1000)
DEMAND = Demand(frozenset({"Load"}), frozenset({Choice("Load", "model", "a.pt")}), frozenset({"a.pt"}))
DONE = Ending(Outcome.SUCCEEDED, b'{"record": 1}', b'{"summary": 1}')


@dataclass(frozen=True, slots=True)
class Store:
    redis: Any
    run: Scripts
    jobs: RedisJobs
    feed: RedisFeed
    farm: RedisFarm

    async def job(self, id: PromptId) -> Job | None:
        return (await self.feed.jobs([id]))[id]

    async def kind(self, id: PromptId) -> str:
        """Its state's name, or nothing."""
        job = await self.job(id)
        return type(job.state).__name__ if job else ""

    async def waits(self) -> str:
        return (await self.feed.since(0)).waits


class Twice(Scripts):
    """Runs every operation twice, as a client does that lost the first answer: the second may change nothing."""

    ANSWERS_ALIKE = frozenset({"accept", "claim", "emptied", "posted", "interrupt", "leases", "unlease", "worker_seen"})

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis, lambda name, seconds: None)
        self._reader = redis

    async def __call__(self, name: str, keys: Sequence[str], args: Sequence[Arg]) -> Any:
        first = await super().__call__(name, keys, args)
        if name == "changes":  # reads only
            return first
        before = await facts(self._reader)
        again = await super().__call__(name, keys, args)
        assert await facts(self._reader) == before, f"{name} is not safe to repeat"
        assert again == first or name not in self.ANSWERS_ALIKE, f"{name} answers {first!r}, then {again!r}"
        return first


_READ_ALL = """
local read = { hash = 'HGETALL', string = 'GET', stream = 'XLEN' }
local reply = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
    local kind = redis.call('TYPE', key).ok
    local value = read[kind] and redis.call(read[kind], key) or redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
    reply[#reply + 1] = { key, kind, value }
end
return reply
"""


async def contents(redis: Any) -> dict[str, Any]:
    """All that is kept: hashes as dicts, sorted sets as lists of (member, score), of streams the length."""
    found: dict[str, Any] = {}
    for key, kind, value in sorted(await redis.eval(_READ_ALL, 0)):
        pairs = zip(value[::2], value[1::2], strict=True) if isinstance(value, list) else ()
        if kind == b"hash":
            found[key.decode()] = {name.decode(): item for name, item in pairs}
        elif kind == b"zset":
            found[key.decode()] = [(name.decode(errors="surrogatepass"), int(score)) for name, score in pairs]
        else:
            found[key.decode()] = value
    return found


async def facts(redis: Any) -> dict[str, Any]:
    """The same without what only counts the changes."""
    return {key: value for key, value in (await contents(redis)).items() if key not in (KEYS.version, KEYS.changes)}


def build(
    url: str, *, replica: str = "r1", history_max: int = 100, lease_ttl: float = 30.0, twice: bool = False
) -> Store:
    redis, name = connect(url), ReplicaId(replica)
    run = Twice(redis) if twice else Scripts(redis, lambda name, seconds: None)
    return Store(
        redis=redis,
        run=run,
        jobs=RedisJobs(redis, run, KEYS, replica=name, history_max=history_max, history_ttl=3600.0),
        feed=RedisFeed(redis, run, KEYS),
        farm=RedisFarm(redis, run, run, KEYS, replica=name, lease_ttl=lease_ttl),
    )


async def admit(store: Store, *workers: str) -> None:
    """Let these workers take prompts, without telling anybody."""
    for name in workers:
        await store.redis.hsetnx(KEYS.workers, name, json.dumps({"url": f"http://{name}", "draining": False}))


@asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[Store]:
    store = build(url, **options)
    try:
        yield store
    finally:
        await store.redis.aclose()


def new(
    id: str = "p",
    *,
    digest: str = "d",
    number: str = "auto",
    client: str | None = "me",
    secrets: dict[str, str] | None = None,
    body: bytes = b'{"prompt": {}}',
    **more: Any,
) -> NewPrompt:
    tail = b", " + json.dumps([id, {}, {}, []])[1:].encode()
    return NewPrompt(
        id=PromptId(id),
        digest=digest,
        number=number,
        client_id=ClientId(client) if client else None,
        peer="10.0.0.1",
        demand=DEMAND,
        body=body,
        tail=tail,
        secrets=secrets or {},
        **more,
    )


def attempt(prompt: str, worker: str = "w", id: str | None = None) -> Attempt:
    return Attempt(PromptId(prompt), WorkerName(worker), AttemptId(id or str(uuid.uuid4())))
