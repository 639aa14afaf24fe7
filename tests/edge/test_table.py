"""The table of paths by itself: what goes where, with which parameters, and what it costs beside a list of routes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send

from gateway.edge.table import Table

pytestmark = pytest.mark.anyio


def says(name: str) -> Any:
    async def handler(request: Request) -> Response:
        return PlainTextResponse(f"{name} {request.path_params}")

    return handler


@dataclass(frozen=True, slots=True)
class Raw:
    name: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(self.name)(scope, receive, send)


ROWS = [
    ("GET", "/jobs", says("list")),
    ("POST", "/jobs", says("add")),
    ("POST", "/jobs/cancel", says("cancel")),
    ("GET", "/jobs/{id}", says("one")),
    ("GET", "/things/{name:path}/events", Raw("events")),
    ("GET", "/things/{name:path}", says("thing")),
]
TABLE = Table(ROWS, {"/ws": Raw("socket")}, Raw("rest"))


async def asked(path: str, method: str = "GET", kind: str = "http") -> tuple[int, str, Scope]:
    scope: Scope = {"type": kind, "method": method, "path": path, "headers": []}
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("nobody reads")

    async def send(message: Message) -> None:
        sent.append(message)

    await TABLE(scope, receive, send)
    return sent[0].get("status", 0), sent[1]["body"].decode(), scope


@pytest.mark.parametrize(
    ("method", "path", "answer", "route"),
    [
        ("GET", "/jobs", "list {}", "/jobs"),
        ("HEAD", "/jobs", "list {}", "/jobs"),
        ("POST", "/jobs", "add {}", "/jobs"),
        ("POST", "/jobs/cancel", "cancel {}", "/jobs/cancel"),
        ("GET", "/jobs/7", "one {'id': '7'}", "/jobs/{id}"),
        ("GET", "/things/a/b", "thing {'name': 'a/b'}", "/things/{name:path}"),
        ("GET", "/things/", "thing {'name': ''}", "/things/{name:path}"),
        ("GET", "/things/a/events", "events", "/things/{name:path}/events"),
    ],
)
async def test_a_path_finds_its_row(method: str, path: str, answer: str, route: str) -> None:
    status, body, scope = await asked(path, method)
    assert (status, body, scope["route"].path) == (200, answer, route)


@pytest.mark.parametrize("path", ["/", "/job", "/jobs/", "/jobs/7/8", "/thing/a", "/ws"])
async def test_what_fits_no_row_is_for_the_rest(path: str) -> None:
    status, body, scope = await asked(path)
    assert (status, body) == (200, "rest")
    assert "route" not in scope


async def test_a_wrong_method_is_no_other_row() -> None:
    assert (await asked("/jobs/cancel"))[:2] == (405, "405: Method Not Allowed")
    assert (await asked("/jobs", "PUT"))[:2] == (405, "405: Method Not Allowed")


async def test_sockets_have_paths_of_their_own() -> None:
    assert (await asked("/ws", kind="websocket"))[1] == "socket"
    assert (await asked("/jobs", kind="websocket"))[1] == "rest"
