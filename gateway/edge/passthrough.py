"""What the gateway does not answer itself goes to a worker, as bytes: the frontend, user data, custom nodes' routes.

It goes to the home worker, so that settings and workflows have one place. Only reads may go elsewhere, and only while
the home worker cannot be reached.
"""

from __future__ import annotations

from urllib.parse import unquote

from starlette.types import Receive, Scope, Send

from gateway.domain.errors import NotFound, NoWorker, WorkerRefused
from gateway.domain.ids import WorkerName
from gateway.domain.ports.relay import Homes, Wire
from gateway.domain.workers import Down, Worker
from gateway.edge.carry import Incoming, carry, target_of
from gateway.edge.headers import header

_DIRECT = b"/gateway/workers/"
_READS = frozenset({"GET", "HEAD"})


class Passthrough:
    """A raw ASGI app. Raises NoWorker while nobody may answer, NotFound for a worker that is not there."""

    def __init__(self, wire: Wire, homes: Homes) -> None:
        self._wire = wire
        self._homes = homes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await refuse_socket(receive, send)
            return
        target = target_of(scope)
        incoming = Incoming(scope, receive)
        if target.startswith(_DIRECT):
            name, slash, rest = target.removeprefix(_DIRECT).partition(b"/")
            worker = self._named(unquote(name.decode("latin-1")))
            await self._carry([worker], slash + rest or b"/", scope, incoming, send)
        elif chosen := header(scope["headers"], b"x-gateway-worker"):
            await self._carry([self._named(chosen)], target, scope, incoming, send)
        else:
            await self._carry(await self._candidates(scope["method"]), target, scope, incoming, send)

    def _named(self, name: str) -> Worker:
        worker = self._homes.named(WorkerName(name))
        if worker is None:
            raise NotFound(f"no worker is named {name!r}")
        return worker

    async def _candidates(self, method: str) -> list[Worker]:
        """The home worker, then for reads the others; one that is known to be down is not tried for long."""
        home = await self._homes.home()
        if home is None:
            raise NoWorker("the farm has no worker yet")
        if method not in _READS:
            return [home]
        others = [worker for worker in self._homes.others() if worker.name != home.name]
        return [*others, home] if isinstance(home.liveness, Down) else [home, *others]

    async def _carry(self, workers: list[Worker], target: bytes, scope: Scope, incoming: Incoming, send: Send) -> None:
        for worker in workers:
            try:
                await carry(self._wire, worker.url, target, scope, incoming, send)
            except WorkerRefused:
                if incoming.touched:
                    raise
            else:
                return
        raise NoWorker(_away(workers, scope["method"]))


def _away(workers: list[Worker], method: str) -> str:
    names = ", ".join(worker.name for worker in workers)
    if method in _READS:
        return f"cannot be reached at the moment: {names}"
    return f"worker {names} is away, and {method} is for it alone; nothing was sent"


async def refuse_socket(receive: Receive, send: Send) -> None:
    """Close before accepting, which a server answers with 403."""
    await receive()
    await send({"type": "websocket.close", "code": 1013})
