"""`scripts/bench farm`: one trace through nginx, through the gateway with `least-queue`, and with its default.

200 prompts of 16 clients, each with one of 3 `ProbeModel` models, come to 8 emulated workers faster than these can run
them. Times are a twelfth of what the trace says: 9.4 s of running in the mean, 15 s to load a model. nginx knows
workers by their connections (`least_conn`: each client has a socket open) and keeps a client on its worker by a cookie,
for only there are its socket and its history. Rows go into bench/results/bench.json.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from random import Random
from statistics import fmean
from typing import Any

import aiohttp

from bench._rows import Row, keep, quantile, table
from bench._servers import REST, fetched, gateway, nginx_with, pin, python, redis
from gateway.emulator.serve import running
from gateway.emulator.settings import EmulatorSettings
from tests.farm import sleeping

WORKERS, CLIENTS, PROMPTS = 8, 16, 200
FASTER = 12.0
MEAN, LOAD = 9.4, 15.0
MODELS = ("a.safetensors", "b.safetensors", "c.safetensors")
DEFAULT = "expected-completion"


@dataclass(frozen=True, slots=True)
class Prompt:
    """In seconds of the trace's time: when it comes, and how long it runs."""

    at: float
    client: int
    model: str
    steps: int
    runs: float

    def graph(self, load: float, faster: float) -> dict[str, Any]:
        graph = sleeping(self.runs / faster)
        graph["2"]["inputs"].update(image=["4", 0], steps=self.steps)
        given = {"image": ["1", 0], "model": self.model, "load_seconds": load / faster}
        return {**graph, "4": {"class_type": "ProbeModel", "inputs": given}}


@dataclass(frozen=True, slots=True)
class Drained:
    """What came of it: seconds until the last was done, from submit to done of each, and how often models loaded."""

    seconds: float
    times: list[float]
    loads: int
    loading: float
    """The share of the workers' busy time that went into loads."""


def trace(prompts: int = PROMPTS, clients: int = CLIENTS, seed: int = 1) -> list[Prompt]:
    """At random, twice as fast as eight workers can run them if they never load; models by popularity.

    Each is of one of three lengths, from which it is off by a quarter or so.
    """
    rng = Random(seed)
    popularity = [1 / (rank + 1) ** 0.8 for rank in range(len(MODELS))]
    found, at = [], 0.0
    for _ in range(prompts):
        at += rng.expovariate(2 * WORKERS / MEAN)
        model, steps = rng.choices(MODELS, popularity)[0], rng.choice((2, 4, 8))
        found.append(Prompt(at, rng.randrange(clients), model, steps, MEAN * steps / 5 * rng.lognormvariate(0, 0.25)))
    return found


async def drained(
    url: str, workers: Sequence[str], prompts: Sequence[Prompt], *, load: float = LOAD, faster: float = FASTER
) -> Drained:
    """Play the trace against this server, behind which these workers are."""
    clients = {prompt.client for prompt in prompts}
    async with AsyncExitStack() as stack:
        mine = {each: await stack.enter_async_context(_client(url, each)) for each in sorted(clients)}
        began = time.perf_counter()
        jobs = []
        for prompt in prompts:
            await asyncio.sleep(max(0.0, began + prompt.at / faster - time.perf_counter()))
            jobs.append(asyncio.create_task(mine[prompt.client].run(prompt.graph(load, faster))))
        times = await asyncio.wait_for(asyncio.gather(*jobs), 150)
        seconds = time.perf_counter() - began
    loads = sum([_loads(json.loads(await asyncio.to_thread(fetched, f"{worker}/history"))) for worker in workers])
    whole = loads * load + sum(prompt.runs for prompt in prompts)
    return Drained(seconds, times, loads, loads * load / whole)


class _Client:
    """One of those who use the farm: it has a socket open, posts prompts and is told when they are done."""

    def __init__(self, http: aiohttp.ClientSession, url: str, id: str) -> None:
        self._http = http
        self._url = url
        self.id = id
        self._done: dict[str, asyncio.Future[None]] = {}

    async def listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            told = json.loads(message.data)
            if told["type"] == "executing" and told["data"]["node"] is None:
                self._of(told["data"]["prompt_id"]).set_result(None)

    async def run(self, graph: dict[str, Any]) -> float:
        """Seconds from submitting it to the news of its end."""
        began = time.perf_counter()
        async with self._http.post(f"{self._url}/prompt", json={"prompt": graph, "client_id": self.id}) as reply:
            assert reply.status == 200, await reply.text()
            id = (await reply.json())["prompt_id"]
        await self._of(id)
        return time.perf_counter() - began

    def _of(self, id: str) -> asyncio.Future[None]:
        return self._done.setdefault(id, asyncio.get_running_loop().create_future())


@asynccontextmanager
async def _client(url: str, number: int) -> AsyncIterator[_Client]:
    """Its first request is for the socket, and whatever cookie comes with that is sent with all others."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        client = _Client(http, url, f"client-{number}")
        async with http.ws_connect(f"{url}/ws?clientId={client.id}") as socket:
            listening_to = asyncio.create_task(client.listen(socket))
            try:
                yield client
            finally:
                listening_to.cancel()


def _loads(history: dict[str, Any]) -> int:
    """How often a worker with this history had another model to load than that of the prompt before."""
    ran = sorted((dict(each["status"]["messages"])["execution_start"]["timestamp"], each) for each in history.values())
    models = [each["prompt"][2]["4"]["inputs"]["model"] for _, each in ran]
    return sum(model != before for model, before in zip(models, ["", *models], strict=False))


async def through_nginx() -> Drained | None:
    async with _workers() as workers, nginx_with(lambda port: _sticky(port, workers)) as server:
        return None if server is None else await drained(server.url, workers, trace())


async def through_gateway(policy: str) -> Drained:
    async with redis() as state, _workers() as workers, gateway(state, workers, "--policy", policy) as ours:
        return await drained(ours.url, workers, trace())


@asynccontextmanager
async def _workers() -> AsyncIterator[list[str]]:
    """New ones each time: nothing is loaded, and their histories are empty."""
    async with python(REST, "bench.farm", "workers") as (_, urls):
        yield urls


def _sticky(port: int, urls: Sequence[str]) -> str:
    """A configuration in which the first request of a client goes by least_conn, and all others where that went."""
    workers = [url.removeprefix("http://") for url in urls]
    homes = "\n".join(f'    "{address}" home{number};' for number, address in enumerate(workers))
    alone = "\n".join(f"  upstream home{number} {{ server {address}; }}" for number, address in enumerate(workers))
    whole = " ".join(f"server {address};" for address in workers)
    return _STICKY.format(port=port, homes=homes, alone=alone, whole=whole)


_STICKY = """
  map $cookie_home $to {{
    default all;
{homes}
  }}
  map $http_upgrade $hop {{ default upgrade; "" close; }}
  upstream all {{ least_conn; {whole} }}
{alone}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://$to; proxy_http_version 1.1; proxy_read_timeout 3600s;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $hop;
      add_header Set-Cookie "home=$upstream_addr; Path=/" always;
    }}
  }}
"""


def rows(ours: Drained, beside: dict[str, Drained]) -> list[Row]:
    found = []
    for what, theirs in beside.items():
        p95, others = quantile(ours.times, 0.95), quantile(theirs.times, 0.95)
        found += [
            Row("farm: time to drain", "s", ours.seconds, theirs.seconds, what, theirs.seconds / ours.seconds, 1.5),
            Row("farm: 95th percentile", "s", p95, others, what, others / p95, None),
            Row("farm: mean", "s", fmean(ours.times), fmean(theirs.times), what,
                fmean(theirs.times) / fmean(ours.times), None),
            Row("farm: busy time spent loading", "%", 100 * ours.loading, 100 * theirs.loading, what,
                theirs.loading / ours.loading, None),
        ]  # fmt: skip
    return found


async def measured() -> list[Row]:
    beside: dict[str, Drained] = {}
    if (theirs := await through_nginx()) is not None:
        beside["nginx least_conn"] = theirs
    beside["least-queue"] = await through_gateway("least-queue")
    return rows(await through_gateway(DEFAULT), beside)


async def workers() -> None:
    """Emulated workers in one process, until it is ended."""
    async with AsyncExitStack() as stack:
        made = [EmulatorSettings(name=f"w{number}") for number in range(WORKERS)]
        urls = [(await stack.enter_async_context(running(each))).url for each in made]
        print("workers at", *urls, flush=True)
        await asyncio.Event().wait()


def main() -> None:
    if sys.argv[1:] == ["workers"]:
        asyncio.run(workers())
        return
    pin(REST)
    found = asyncio.run(measured())
    keep(found, farm=True)
    print(table(found))


if __name__ == "__main__":
    main()
