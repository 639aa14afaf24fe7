"""GET /view, as bytes: a file comes from the worker that has it, never from one that might."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from starlette.types import Message, Receive, Scope, Send

from gateway.domain.callers import Caller
from gateway.domain.errors import NotShown, NoWorker, WorkerRefused
from gateway.domain.files import OutputFile, asked
from gateway.domain.media import content_type, disposition, is_dangerous, view_headers
from gateway.domain.ports.relay import Homes, Wire
from gateway.domain.workers import Worker
from gateway.edge.callers import Callers
from gateway.edge.carry import Incoming, carry, target_of
from gateway.edge.headers import header, written
from gateway.edge.kept_outputs import KeptOutputs
from gateway.flows.outputs import Place

_SAID = frozenset({b"content-disposition", b"x-content-type-options"})
_JUDGED = _SAID | {b"content-type", b"cache-control", b"vary"}


class Finds(Protocol):
    async def find(self, file: OutputFile, caller: Caller) -> Place | None: ...


class View:
    """A raw ASGI app: outputs by their names in the farm. Inputs are the home worker's."""

    def __init__(
        self, wire: Wire, homes: Homes, outputs: Finds, callers: Callers, kept: KeptOutputs | None = None
    ) -> None:
        self._wire = wire
        self._homes = homes
        self._outputs = outputs
        self._callers = callers
        self._kept = kept

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = asked(scope["query_string"])
        if query.file.type == "input":
            await _only(self._wire, self._homes.home(), target_of(scope), scope, receive, send)
            return
        place = await self._outputs.find(query.file, self._callers.of(scope))
        if place is None:
            raise NotShown
        if place.kept and self._kept and not (query.converted and place.workers):
            await self._kept.send(place.name, place.kept, query, scope, receive, send)
            return
        showing = _Showing(place.name, header(scope["headers"], b"sec-fetch-dest"), query.converted, send)
        await _any(self._wire, place.workers, query.target(place.file), scope, receive, showing.send)


class _Showing:
    """Puts the farm's name on a worker's answer, and lets nothing in it run in the farm's origin."""

    def __init__(self, name: str, destination: str | None, converted: bool, send: Send) -> None:
        self._name = name
        self._destination = destination
        self._converted = converted
        self._send = send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = self._headers(message["status"], message["headers"])
            message = {**message, "headers": list(headers)}
        await self._send(message)

    def _headers(self, status: int, told: list[tuple[bytes, bytes]]) -> Iterable[tuple[bytes, bytes]]:
        if status >= 400:  # a name that means nothing now may mean something soon
            return [row for row in told if row[0].lower() not in (b"cache-control", *_SAID)]
        kind = header([(name.lower(), value) for name, value in told], b"content-type") or ""
        dangerous = is_dangerous(kind) or (not self._converted and is_dangerous(content_type(self._name)))
        ours = dict(view_headers(self._name, self._destination)) if dangerous else {}
        if not dangerous:
            ours = {"content-disposition": disposition(self._name), "x-content-type-options": "nosniff"}
        kept = [row for row in told if row[0].lower() not in (_JUDGED if dangerous else _SAID)]
        return [*kept, *((name.encode(), written(value)) for name, value in ours.items())]


async def _any(
    wire: Wire, workers: Iterable[Worker], target: bytes, scope: Scope, receive: Receive, send: Send
) -> None:
    """From the first that can be reached."""
    incoming = Incoming(scope, receive)
    names = []
    for worker in workers:
        try:
            await carry(wire, worker.url, target, scope, incoming, send)
        except WorkerRefused:
            names.append(worker.name)
        else:
            return
    away = ", ".join(names) or "every worker"
    raise NoWorker(f"{away}: away at the moment, and only there is this file")


async def _only(wire: Wire, worker: Worker | None, target: bytes, scope: Scope, receive: Receive, send: Send) -> None:
    if worker is None:
        raise NoWorker("the farm has no worker yet")
    try:
        await carry(wire, worker.url, target, scope, Incoming(scope, receive), send)
    except WorkerRefused as exc:
        raise NoWorker(f"worker {worker.name} is away, and only it can answer this") from exc
