"""From a path to the app that answers it: one look into a dict for most, a few patterns for the rest.

A list of routes that is tried one after the other costs more than all else that a small answer takes.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

Row = tuple[str, str, Any]
"""Method, path with `{parameters}`, and a handler of a request or a raw ASGI app."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One path and who answers it. The scope's `route`, from which the request's time gets its label."""

    path: str
    app: ASGIApp
    start: str
    """What every path that fits begins with."""
    pattern: re.Pattern[str]

    def match(self, path: str) -> dict[str, str] | None:
        if not path.startswith(self.start):
            return None
        found = self.pattern.match(path)
        return None if found is None else found.groupdict()


class Table:
    """A raw ASGI app: each path to its row, the earlier first, sockets to their own paths, and the rest to `rest`."""

    def __init__(self, rows: Iterable[Row], sockets: Mapping[str, ASGIApp], rest: ASGIApp) -> None:
        by_path: dict[str, dict[str, Any]] = {}
        for method, path, endpoint in rows:
            by_path.setdefault(path, {})[method] = endpoint
        entries = [_entry(path, ByMethod(endpoints)) for path, endpoints in by_path.items()]
        self._exact = {entry.path: entry for entry in entries if entry.start == entry.path}
        self._patterns = [entry for entry in entries if entry.path not in self._exact]
        self._sockets = sockets
        self._rest = rest

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        path = scope["path"]
        if scope["type"] == "websocket":
            return self._sockets.get(path, self._rest)(scope, receive, send)
        if (entry := self._exact.get(path)) is not None or (entry := self._match(path, scope)) is not None:
            scope["route"] = entry
            return entry.app(scope, receive, send)
        return self._rest(scope, receive, send)

    def _match(self, path: str, scope: Scope) -> Entry | None:
        for entry in self._patterns:
            if (parameters := entry.match(path)) is not None:
                scope["path_params"] = parameters
                return entry
        return None


class ByMethod:
    """One path: goes by the method, and answers a wrong one as aiohttp does (recording static.json)."""

    def __init__(self, endpoints: Mapping[str, Any]) -> None:
        """`endpoints` are handlers of a request, or raw ASGI apps."""
        self._apps = {method: _app(endpoint) for method, endpoint in endpoints.items()}
        if "GET" in self._apps:
            self._apps.setdefault("HEAD", self._apps["GET"])
        self._allow = ",".join(sorted(self._apps))

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        app = self._apps.get(scope["method"])
        if app is None:
            app = PlainTextResponse("405: Method Not Allowed", 405, {"Allow": self._allow})
        return app(scope, receive, send)


def _app(endpoint: Any) -> ASGIApp:
    return _answering(endpoint) if iscoroutinefunction(endpoint) else endpoint


def _answering(handler: Callable[[Request], Awaitable[Response]]) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        response = await handler(Request(scope, receive))
        await response(scope, receive, send)

    return app


def _entry(path: str, app: ASGIApp) -> Entry:
    return Entry(path, app, path.partition("{")[0], compile_path(path)[0])
