"""A gateway of nothing but what passes bytes through, in front of given workers, on a real socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from starlette.types import ASGIApp

from gateway.adapters.relay import Relay, new_session
from gateway.domain.ids import WorkerName
from gateway.domain.ports.relay import Wire
from gateway.domain.workers import Down, Up, Worker
from gateway.edge.errors import Telling
from tests.servers import serve


def up(name: str, url: str) -> Worker:
    return Worker(WorkerName(name), url, liveness=Up())


def down(name: str, url: str) -> Worker:
    return Worker(WorkerName(name), url, liveness=Down(0.0))


class Farm:
    """The first worker is the home."""

    def __init__(self, *workers: Worker) -> None:
        self.workers = list(workers)

    def home(self) -> Worker | None:
        return self.workers[0] if self.workers else None

    def others(self) -> Sequence[Worker]:
        return [worker for worker in self.workers[1:] if worker.answers]

    def named(self, name: WorkerName) -> Worker | None:
        return next((worker for worker in self.workers if worker.name == name), None)


@asynccontextmanager
async def gateway(build: Callable[[Wire], ASGIApp]) -> AsyncIterator[str]:
    async with (
        new_session(connect_timeout=2) as session,
        Relay(session, connect_timeout=2) as relay,
        serve(Telling(build(relay))) as url,
    ):
        yield url


def told(body: bytes) -> tuple[str, str]:
    """Type and message of an error's body."""
    error = json.loads(body)["error"]
    return error["type"], error["message"]
