"""JSON as ComfyUI's server has it: any Content-Type is parsed, answers are written by Python's encoder."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.domain.errors import BrokenBody
from gateway.domain.ids import PromptId

JSON = "application/json; charset=utf-8"
_JSON = JSON.encode()


async def read_json(request: Request) -> Any:
    """Raises BrokenBody for what is no JSON, as an empty body is not."""
    raw = await request.body()
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BrokenBody("the body is no JSON") from error


async def read_object(request: Request) -> dict[str, Any]:
    body = await read_json(request)
    if not isinstance(body, dict):
        raise BrokenBody("the body must be a JSON object")
    return body


async def read_edits(request: Request) -> dict[str, Any]:
    """What is to be cleared and deleted. ComfyUI only asks for the words: a list or text without them edits nothing."""
    body = await read_json(request)
    if isinstance(body, list | str) and "clear" not in body and "delete" not in body:
        return {}
    if not isinstance(body, dict):
        raise BrokenBody("the body must be a JSON object")
    return body


def ids_in(body: dict[str, Any], key: str) -> list[PromptId]:
    """Prompt ids under `key`: a list, or one id alone (the seed document's form). Raises BrokenBody for null.

    Of an object, which ComfyUI goes through as it does through a list, the keys are meant.
    """
    given = body[key]
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, list | dict):
        raise BrokenBody(f"{key} must be a list of prompt ids")
    return [PromptId(id) for id in given if isinstance(id, str) and is_text(id)]


def is_text(id: str) -> bool:
    """Whether it can be the id of anything: lone surrogates, which JSON can write, are no text."""
    try:
        id.encode()
    except UnicodeEncodeError:
        return False
    return True


def integer(request: Request, name: str) -> int | None:
    """A number in the query. Raises BrokenBody, since ComfyUI answers its bare 500 there."""
    given = request.query_params.get(name)
    try:
        return None if given is None else int(given)
    except ValueError as error:
        raise BrokenBody(f"{name} must be an integer") from error


def as_json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(value), status, {"Content-Type": JSON, **(headers or {})})


class _Ready(Response):
    """JSON that is bytes already: its two headers are written down, not worked out."""

    def __init__(self, body: bytes, status: int) -> None:
        self.body = body
        self.status_code = status
        self.background = None
        self.raw_headers = [(b"content-type", _JSON), (b"content-length", b"%d" % len(body))]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body})


def raw_json(body: bytes, status: int = 200) -> Response:
    return _Ready(body, status)


def empty() -> Response:
    """ComfyUI's 200 without a body has no Content-Type."""
    return Response(status_code=200)
