"""One gateway with a thousand workers and a hundred thousand prompts that wait."""

from __future__ import annotations

import asyncio
import random
import re
import time
from typing import Any

from redis import Redis

from bench._rows import Row, at_most
from bench._servers import REST, fetched, gateway, python, redis
from gateway.adapters.redis_client import connect
from gateway.adapters.redis_jobs import RedisJobs
from gateway.adapters.redis_keys import Keys
from gateway.adapters.redis_scripts import Scripts
from gateway.domain import posting
from gateway.domain.catalogue import Pool, parse
from gateway.domain.ids import ClientId, ReplicaId, new_prompt_id
from gateway.domain.ports import Limits, NewPrompt
from gateway.domain.submission import parse as read_body
from gateway.domain.workflow import output_nodes, read
from tests.farm import sleeping

WORKERS, PROMPTS, CLIENTS = 1000, 100_000, 50
_SHORTEST, _LONGEST = 10.0, 30.0
_WINDOW = 30.0
_NEARLY_ALL = 0.95
_ABREAST = 64
_ROOM = Limits(10**9, 10**15, 10**9)
_FLAGS = "--max-queue", "1000000", "--max-queue-bytes", "100GiB", "--max-queue-per-caller", "1000000"


async def scale() -> list[Row]:
    """(f) Memory, the event loop's delay and trips to Redis for each prompt, while prompts run and end everywhere."""
    async with redis() as state, python(REST, "bench._workers", str(WORKERS)) as (_, workers):
        await _fill(state, fetched(f"{workers[0]}/object_info"))
        began = time.monotonic()
        async with gateway(state, workers, *_FLAGS) as ours:
            print(f"scale: {time.monotonic() - began:.0f} s until all workers are up", flush=True)
            await _until_all_run(ours.url)
            with Redis.from_url(state) as store:
                ended, logged, lags = _ended(ours.url), _logged(ours.url), _lags(ours.url)
                trips, cpu, began = _trips(store), ours.cpu, time.monotonic()
                await asyncio.sleep(_WINDOW)
                cpu = (ours.cpu - cpu) / (time.monotonic() - began)
                trips = _trips(store) - trips
            ended, logged = _ended(ours.url) - ended, _logged(ours.url) - logged
            lag = _worst(lags, _lags(ours.url), 0.99)
            memory = ours.memory
    print(f"scale: {ended / _WINDOW:.0f} prompts/s end, {cpu:.2f} of a core is used", flush=True)
    return [
        at_most(f"{WORKERS} workers, {PROMPTS:,} wait: memory", "MiB", memory, 1024.0),
        at_most("the event loop's delay, 99th percentile", "ms", 1000 * lag, 50.0),
        at_most("trips to Redis for each prompt, but for events", "", (trips - logged) / max(ended, 1), 12.0),
    ]


async def _fill(state: str, catalogue: bytes) -> None:
    """Puts the prompts on record as a gateway would, but without the HTTP, which is measured elsewhere."""
    client = connect(state)
    run = Scripts(client, lambda name, seconds: None)
    jobs = RedisJobs(client, run, Keys("gw"), replica=ReplicaId("bench"), history_max=10_000, history_ttl=86400.0)
    nodes = parse(catalogue, Pool()).nodes
    kinds = [_new(random.uniform(_SHORTEST, _LONGEST), nodes) for _ in range(CLIENTS)]
    gate = asyncio.Semaphore(_ABREAST)

    async def one(number: int) -> None:
        made = kinds[number % CLIENTS](ClientId(f"client-{number % CLIENTS}"))
        try:
            await jobs.accept(made, _ROOM)
        finally:
            gate.release()

    async with asyncio.TaskGroup() as group:
        for number in range(PROMPTS):
            await gate.acquire()
            group.create_task(one(number))
    await client.aclose(close_connection_pool=True)


def _new(seconds: float, nodes: Any) -> Any:
    submission = read_body({"prompt": sleeping(seconds)}, new_prompt_id())
    demand, outputs = read(submission.graph, nodes), output_nodes(submission.graph, nodes)
    digest, body = posting.digest(submission), posting.kept_body(submission, {})

    def new(client_id: ClientId) -> NewPrompt:
        id = new_prompt_id()
        tail = posting.queue_tail(id, submission.graph, {"client_id": client_id}, outputs)
        return NewPrompt(id, digest, "auto", client_id, "127.0.0.1", demand, body, tail, {})

    return new


async def _until_all_run(url: str) -> None:
    for _ in range(60):
        if _gauge(url, 'comfygw_queue_jobs{state="running"}') >= _NEARLY_ALL * WORKERS:
            await asyncio.sleep(_SHORTEST)
            return
        await asyncio.sleep(2.0)
    raise TimeoutError("the workers do not fill up")


def _metrics(url: str) -> str:
    return fetched(f"{url}/metrics").decode()


def _gauge(url: str, name: str) -> float:
    return next(float(line.split()[-1]) for line in _metrics(url).splitlines() if line.startswith(name))


def _ended(url: str) -> float:
    lines = _metrics(url).splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("comfygw_jobs_total{"))


def _logged(url: str) -> float:
    """How often events were put into their streams, one trip each."""
    return _gauge(url, 'comfygw_redis_seconds_count{op="log"}')


def _lags(url: str) -> dict[float, float]:
    found = re.findall(r'comfygw_event_loop_lag_seconds_bucket\{le="([^"]+)"\} (\S+)', _metrics(url))
    return {float(bound): float(count) for bound, count in found}


def _worst(before: dict[float, float], after: dict[float, float], share: float) -> float:
    """The bound under which this share of what was measured between the two lies."""
    counts = {bound: count - before[bound] for bound, count in sorted(after.items())}
    return next(bound for bound, count in counts.items() if count >= share * counts[float("inf")])


def _trips(store: Redis) -> int:
    """How often the server has read from a connection: once for each question, or for many that are sent at once."""
    return int(store.info("stats")["total_reads_processed"])
