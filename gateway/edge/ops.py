"""/healthz, /readyz and /metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from gateway.domain.errors import StoreUnavailable
from gateway.edge.bodies import as_json


class OpsRoutes:
    def __init__(
        self,
        *,
        store: Callable[[], Awaitable[object]],
        late: Callable[[], Mapping[str, float]],
        draining: Callable[[], bool],
        metrics: Callable[[], tuple[bytes, str]],
    ) -> None:
        """`store` raises StoreUnavailable; `late` names the loops that are overdue, with their age in seconds."""
        self._store = store
        self._late = late
        self._draining = draining
        self._metrics = metrics

    async def healthz(self, request: Request) -> Response:
        """That this is answered at all says that the event loop turns; nothing else is asked."""
        return PlainTextResponse("ok\n")

    async def readyz(self, request: Request) -> Response:
        """Ready without any worker: the queue takes prompts then too."""
        problems: dict[str, str] = {}
        if self._draining():
            problems["process"] = "is leaving"
        try:
            await self._store()
        except StoreUnavailable as error:
            problems["state"] = str(error)
        problems |= {f"loop {name}": f"last good tick {age:.0f} s ago" for name, age in self._late().items()}
        return as_json({"ready": not problems, "problems": problems}, 503 if problems else 200)

    async def metrics(self, request: Request) -> Response:
        body, kind = self._metrics()
        return Response(body, 200, {"Content-Type": kind})
