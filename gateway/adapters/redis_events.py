"""EventBus over Redis: a short stream of state events for each prompt, and pub/sub between the replicas."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

from redis.asyncio import Redis

from gateway.adapters.redis_keys import EVENTS_KEPT, EVENTS_TTL, Keys
from gateway.adapters.redis_scripts import Arg, Scripts, translated
from gateway.domain.ids import PromptId, ReplicaId
from gateway.domain.ports import Carried, Interest, LoggedEvent, Message, Subscribed

_BREAK = b"\n"
_IDLE = 1.0
_AT_ONCE = 100  # events in one step of Redis, which does nothing else meanwhile


class RedisEvents:
    def __init__(self, redis: Redis, run: Scripts, keys: Keys, *, replica: ReplicaId) -> None:
        self._redis: Any = redis
        self._run = run
        self._keys = keys
        self._replica = replica

    async def log(self, events: Iterable[tuple[PromptId, str]]) -> list[str]:
        waiting, places = list(events), list[str]()
        for start in range(0, len(waiting), _AT_ONCE):
            streams: dict[PromptId, int] = {}
            args: list[Arg] = [EVENTS_KEPT, EVENTS_TTL]
            for prompt, event in waiting[start : start + _AT_ONCE]:
                args += (streams.setdefault(prompt, len(streams) + 1), event)
            reply = await self._run("log", [self._keys.events(prompt) for prompt in streams], args)
            places += (place.decode() for place in reply)
        return places

    async def since(self, prompt: PromptId, place: str) -> list[LoggedEvent]:
        with translated():
            rows = await self._redis.xrange(self._keys.events(prompt), min=f"({place}" if place else "-")
        return [LoggedEvent(id.decode(), fields[b"e"].decode()) for id, fields in rows]

    async def send(self, replica: str, carried: Iterable[Carried]) -> None:
        with translated():
            async with self._redis.pipeline(transaction=False) as pipe:
                for one in carried:
                    pipe.publish(self._keys.channel(replica), _packed(one))
                await pipe.execute()

    async def announce(self, interest: Interest) -> None:
        told = json.dumps({"replica": interest.replica, "clients": sorted(interest.clients), "asks": interest.asks})
        with translated():
            await self._redis.publish(self._keys.channel("all"), told)

    async def messages(self) -> AsyncIterator[Message]:
        """A connection that breaks is made anew, and what was sent meanwhile is lost: then this is told again."""
        mine, everyone = self._keys.channel(self._replica), self._keys.channel("all")
        with translated():
            async with self._redis.pubsub() as pubsub:
                await pubsub.subscribe(mine, everyone)
                while True:
                    found = await pubsub.get_message(timeout=_IDLE)
                    _leave_if_cancelled()
                    if found is None:
                        continue
                    if found["type"] == "subscribe" and found["data"] == len((mine, everyone)):
                        yield Subscribed()
                    elif found["type"] == "message":
                        yield _carried(found["data"]) if found["channel"].decode() == mine else _interest(found["data"])


def _leave_if_cancelled() -> None:
    """redis-py swallows a cancellation that comes while it connects anew."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _packed(one: Carried) -> bytes:
    """A line of JSON, then the frame itself."""
    text = isinstance(one.raw, str)
    head = json.dumps({"prompt": one.prompt, "client": one.client, "place": one.place, "text": text})
    return head.encode() + _BREAK + (one.raw.encode() if isinstance(one.raw, str) else one.raw)


def _interest(data: bytes) -> Interest:
    told = json.loads(data)
    return Interest(ReplicaId(told["replica"]), frozenset(told["clients"]), told["asks"])


def _carried(data: bytes) -> Carried:
    head, _, raw = data.partition(_BREAK)
    told = json.loads(head)
    return Carried(told["prompt"], told["client"], told["place"], raw.decode() if told["text"] else raw)
