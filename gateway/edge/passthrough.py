"""What the gateway does not answer itself goes to a worker, as bytes: the frontend, user data, custom nodes' routes.

It goes to the home worker, so that settings and workflows have one place. Only reads may go elsewhere, and only while
the home worker cannot be reached.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import unquote

from starlette.types import Receive, Scope, Send

from gateway.domain.errors import NotFound, NoWorker, WorkerRefused
from gateway.domain.ids import WorkerName
from gateway.domain.ports.relay import Homes, Wire
from gateway.domain.workers import Down, Worker
from gateway.edge.carry import READS, Incoming, carry, target_of
from gateway.edge.headers import header

_DIRECT = b"/gateway/workers/"


class Passthrough:
    """A raw ASGI app. Raises NoWorker while nobody may answer, NotFound for a worker that is not there."""

    def __init__(self, wire: Wire, homes: Homes) -> None:
        self._wire = wire
        self._homes = homes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await refuse_socket(receive, send)
            return
        workers, target = self._to(scope)
        incoming = Incoming(scope, receive)
        tried = []
        for worker in workers:
            tried.append(worker.name)
            try:
                await carry(self._wire, worker.url, target, scope, incoming, send)
            except WorkerRefused:
                if incoming.touched:
                    raise
            else:
                return
        raise NoWorker(_away(tried, scope["method"]))

    def _to(self, scope: Scope) -> tuple[Iterable[Worker], bytes]:
        """The workers that may answer, the first of them first, and the path and query there."""
        target = target_of(scope)
        if target.startswith(_DIRECT):
            name, slash, rest = target.removeprefix(_DIRECT).partition(b"/")
            return [self._named(unquote(name.decode("latin-1")))], slash + rest or b"/"
        if chosen := header(scope["headers"], b"x-gateway-worker"):
            return [self._named(chosen)], target
        return self._candidates(scope["method"]), target

    def _named(self, name: str) -> Worker:
        worker = self._homes.named(WorkerName(name))
        if worker is None:
            raise NotFound(f"no worker is named {name!r}")
        return worker

    def _candidates(self, method: str) -> Iterator[Worker]:
        """The home worker, then for reads the others; one that is known to be down is not tried for long."""
        home = self._homes.home()
        if home is None:
            raise NoWorker("the farm has no worker yet")
        if method not in READS:
            yield home
            return
        last = isinstance(home.liveness, Down)
        if not last:
            yield home
        yield from (worker for worker in self._homes.others() if worker.name != home.name)
        if last:
            yield home


def _away(tried: Iterable[WorkerName], method: str) -> str:
    names = ", ".join(tried)
    if method in READS:
        return f"cannot be reached at the moment: {names}"
    return f"worker {names} is away, and {method} is for it alone; nothing was sent"


async def refuse_socket(receive: Receive, send: Send) -> None:
    """Close before accepting, which a server answers with 403."""
    await receive()
    await send({"type": "websocket.close", "code": 1013})
