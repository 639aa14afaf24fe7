"""The promises that DESIGN makes to clients (invariants 5 to 9), checked all the time while a test does its worst."""

from __future__ import annotations

import asyncio
import io
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from PIL import Image

from tests.servers import until
from tests.system.processes import Process
from tests.system.prompts import Prompt

OURS = "comfy_gateway"
ENDS = ("execution_success", "execution_error", "execution_interrupted")
_RETRY = 0.05
_GIVE_UP = 60.0


class Broken(AssertionError):
    """A promise was not kept."""


@dataclass(slots=True)
class History:
    """Posts prompts to `gateways` and polls them, each at random; what it is not told to excuse breaks a promise."""

    http: aiohttp.ClientSession
    gateways: Sequence[Process]
    seed: int = 0
    posted: dict[str, Prompt] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    """prompt_id → the number in its 200."""
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    """prompt_id → its record, as it was shown first."""
    polls: int = 0
    refused: int = 0
    """How many posts were answered with a 503, which was excused."""
    _broken: Broken | None = None
    _excused: Counter[str] = field(default_factory=Counter)
    _changes: int = 0
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    @asynccontextmanager
    async def watched(self, every: float = 0.05) -> AsyncIterator[None]:
        """Poll around the body, and raise at its end what was broken meanwhile, if `settled` has not."""
        stop = asyncio.Event()

        async def poll() -> None:
            while not stop.is_set() and self._broken is None:
                try:
                    await self._poll()
                except Broken as broken:
                    self._broken = broken
                await asyncio.sleep(every)

        task = asyncio.create_task(poll(), name="polls")
        try:
            yield
        finally:
            stop.set()
            await task
        self._raise_broken()

    @contextmanager
    def excused(self, *gateways: Process) -> Iterator[None]:
        """Around trouble on purpose: these may refuse, break off, or answer 503 for it."""
        self._excused.update(gateway.name for gateway in gateways)
        self._changes += 1
        try:
            yield
        finally:
            self._excused.subtract(gateway.name for gateway in gateways)
            self._changes += 1

    async def post(self, prompt: Prompt, gateway: Process | None = None) -> None:
        """Until it is taken, as a careful client does: again under the same id while the gateways are excused."""
        self.posted[prompt.id] = prompt
        async with asyncio.timeout(_GIVE_UP):
            while (answer := await self._post(prompt, gateway or self._any())) is None:
                await asyncio.sleep(_RETRY)
        self._taken(prompt, answer)
        self._raise_broken()

    async def post_all(self, prompts: Iterable[Prompt], *, at_once: int = 8, ahead: int = 1000) -> None:
        """Each to a random gateway, so many at a time, and so many ahead of the results that were shown."""
        waiting = iter(list(prompts))

        async def client() -> None:
            for prompt in waiting:
                await until(lambda: self._broken or self._unended() < ahead, "fewer wait", timeout=_GIVE_UP)
                await self.post(prompt)
                await self._is_known(prompt)

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(client())

    def _unended(self) -> int:
        return len(self.numbers.keys() - self.results.keys())

    async def ended(self, count: int, timeout: float = 60.0) -> None:
        """Wait until so many prompts have shown a result."""
        await until(lambda: self._broken or len(self.results) >= count, f"{count} ended", timeout=timeout)
        self._raise_broken()

    async def refused_at_least(self, count: int) -> None:
        """Wait until so many posts were answered with a 503."""
        await until(lambda: self._broken or self.refused >= count, f"{count} posts are refused", timeout=30.0)
        self._raise_broken()

    async def settled(self, timeout: float = 60.0) -> None:
        """Wait until every prompt that was taken has shown its result."""
        try:
            await until(lambda: self._broken or not self._unended(), "all ended", timeout=timeout)
        except AssertionError as error:
            raise await self._never_ended() from error
        self._raise_broken()

    async def in_order(self, workers: Sequence[Process] = ()) -> None:
        """All that was taken ended well, once, under a number of its own, and with its own picture.

        With `workers`, which must have kept their memory, each prompt was executed on one of them exactly once.
        """
        assert self.numbers, "nothing was taken"
        assert self.polls > 2, "nothing was watched"
        assert len(set(self.numbers.values())) == len(self.numbers), "a number was given twice"
        wrong = {id: record["status"] for id, record in self.results.items() if not _is_success(record)}
        assert wrong == {}
        assert [id for id, record in self.results.items() if _ends(record) != 1] == []
        if workers:
            runs = await executions(self.http, workers)
            assert runs == Counter(dict.fromkeys(self.numbers, 1)), _difference(runs, self.numbers)
        await asyncio.gather(*(self.has_its_picture(id) for id in self.results))

    async def has_its_picture(self, id: str) -> None:
        """Asked of any gateway, by the name that the file has in the farm."""
        prompt, gateway = self.posted[id], self._any()
        (file,) = self.results[id]["outputs"]["4"]["images"]
        async with self.http.get(f"{gateway.url}/view", params=file) as reply:
            body = await reply.read()
            assert reply.status == 200, f"{file}: {reply.status} {body[:200]!r}"
        with Image.open(io.BytesIO(body)) as picture:
            assert picture.getpixel((3, 3)) == prompt.color, f"{file} is the picture of another prompt"

    async def _post(self, prompt: Prompt, gateway: Process) -> Any:
        """Its answer; None when it is to be tried again."""
        before = self._changes
        try:
            async with self.http.post(f"{gateway.url}/prompt", json=prompt.body()) as reply:
                told = await reply.json()
        except aiohttp.ClientConnectionError as error:
            self._is_excused(gateway, before, f"POST /prompt broke off: {error!r}")
            return None
        if reply.status == 503:
            self._is_excused(gateway, before, f"POST /prompt was answered with a 503: {told}")
            assert told["node_errors"] == {}, told
            assert told["error"].keys() == {"type", "message", "details", "extra_info"}, told
            self.refused += 1
            return None
        assert reply.status == 200, f"POST /prompt to {gateway.name}: {reply.status} {told}"
        assert (told["prompt_id"], told["node_errors"]) == (prompt.id, {})
        return told

    def _taken(self, prompt: Prompt, answer: Any) -> None:
        before = self.numbers.setdefault(prompt.id, answer["number"])
        assert before == answer["number"], f"{prompt.id} was taken as {before} and as {answer['number']}"

    async def _is_known(self, prompt: Prompt) -> None:
        """Right after the 200, and at whatever gateway."""
        gateway = self._any()
        job = await self._get(gateway, f"/api/jobs/{prompt.id}")
        if job is not None and "error" in job:
            raise Broken(f"{gateway.name} does not know {self._story(prompt.id)} right after its 200")

    async def _poll(self) -> None:
        """The queue, then the history: what moves on meanwhile may be in both, and is never in neither."""
        taken, over = set(self.numbers), set(self.results)
        first, second, third = (self._any() for _ in range(3))
        queue = await self._get(first, "/queue")
        history = await self._get(second, "/history")
        jobs = await self._get(third, "/api/jobs")
        if queue is not None and history is not None:
            self._judge(taken, over, queue, history, f"queue of {first.name}, then history of {second.name}")
            self.polls += 1
        if jobs is not None and (lost := taken - {job["id"] for job in jobs["jobs"]}):
            raise Broken(f"not in /api/jobs of {third.name}: {', '.join(map(self._story, lost))}")

    def _judge(self, taken: set[str], over: set[str], queue: Any, history: Any, where: str) -> None:
        items = [*queue["queue_running"], *queue["queue_pending"]]
        queued = {item[1] for item in items}
        if len(queued) < len(items):
            raise Broken(f"twice in the queue ({where}): {sorted(item[1] for item in items)}")
        for wrong, told in (
            (taken - queued - history.keys(), "neither waits nor has ended"),
            (queued & over, "waits again although it has ended"),
            (over - history.keys(), "has lost its result"),
            ((queued | history.keys()) - self.posted.keys(), "was posted by nobody"),
        ):
            if wrong:
                raise Broken(f"{told} ({where}): {', '.join(map(self._story, wrong))}")
        for number, id, *_ in items:
            self._same_number(id, number, where)
        for id, record in history.items():
            self._same_number(id, record["prompt"][0], where)
            if self.results.setdefault(id, record) != record:
                raise Broken(f"{self._story(id)} showed another result before: {self.results[id]}, now {record}")

    def _same_number(self, id: str, number: int, where: str) -> None:
        if self.numbers.get(id, number) != number:
            raise Broken(f"{self._story(id)} is number {number} now ({where})")

    async def _get(self, gateway: Process, path: str) -> Any:
        """None when it cannot answer and is excused."""
        before = self._changes
        try:
            async with self.http.get(gateway.url + path) as reply:
                if reply.status in (200, 404):
                    return await reply.json()
                problem = f"{reply.status} {await reply.text()}"
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
            problem = repr(error)
        self._is_excused(gateway, before, f"GET {path}: {problem}")
        return None

    def _is_excused(self, gateway: Process, before: int, what: str) -> None:
        if not self._excused[gateway.name] and self._changes == before:
            raise Broken(f"{gateway.name}: {what}")

    async def _never_ended(self) -> Broken:
        missing = sorted(self.numbers.keys() - self.results.keys())
        gateway = self._any()
        told = [await self._get(gateway, f"/gateway/jobs/{id}") for id in missing[:3]]
        farm = await self._get(gateway, "/gateway/workers")
        return Broken(f"{len(missing)} of {len(self.numbers)} never ended: {told}\nworkers: {farm}")

    def _any(self) -> Process:
        """One that lives, if any does."""
        return self._random.choice([g for g in self.gateways if g.alive] or self.gateways)

    def _story(self, id: str) -> str:
        prompt = self.posted.get(id)
        ended = "ended" if id in self.results else "not ended"
        return f"{id} (prompt {prompt.number if prompt else '?'}, number {self.numbers.get(id)}, {ended})"

    def _raise_broken(self) -> None:
        if self._broken is not None:
            raise self._broken


async def executions(http: aiohttp.ClientSession, workers: Iterable[Process]) -> Counter[str]:
    """prompt_id → how often workers executed it to a good end, read from each worker's own history."""
    runs: Counter[str] = Counter()
    for worker in workers:
        async with http.get(f"{worker.url}/history") as reply:
            records = (await reply.json()).values()
        runs.update(r["prompt"][3][OURS]["prompt_id"] for r in records if _is_success(r) and OURS in r["prompt"][3])
    return runs


def _is_success(record: dict[str, Any]) -> bool:
    return bool(record["status"]["status_str"] == "success" and record["status"]["completed"])


def _ends(record: dict[str, Any]) -> int:
    return sum(event in ENDS for event, _ in record["status"]["messages"])


def _difference(runs: Counter[str], numbers: dict[str, int]) -> str:
    return f"executions: { {id: runs[id] for id in runs.keys() | numbers.keys() if runs[id] != 1} }"
