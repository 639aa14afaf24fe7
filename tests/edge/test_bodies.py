from __future__ import annotations

from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message

from gateway.domain.errors import BrokenBody
from gateway.edge.bodies import as_json, empty, ids_in, integer, raw_json, read_json, read_object

pytestmark = pytest.mark.anyio


def request(body: bytes = b"", *, query: str = "", content_type: str = "text/plain") -> Request:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", content_type.encode())]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": query.encode(), "headers": headers}
    return Request(scope, receive)


@pytest.mark.parametrize("content_type", ["text/plain", "", "application/x-www-form-urlencoded", "application/json"])
async def test_json_is_read_whatever_it_is_called(content_type: str) -> None:
    assert await read_json(request(b'{"a": [1, NaN]}', content_type=content_type))


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b'{"a": 1} x'])
async def test_what_is_no_json_is_a_broken_body(body: bytes) -> None:
    with pytest.raises(BrokenBody):
        await read_json(request(body))


@pytest.mark.parametrize("body", [b"[]", b"null", b"5", b'"text"'])
async def test_what_is_no_object_is_a_broken_body_where_one_is_needed(body: bytes) -> None:
    with pytest.raises(BrokenBody):
        await read_object(request(body))


@pytest.mark.parametrize(
    ("given", "ids"),
    [("one", ["one"]), (["a", "b"], ["a", "b"]), ([], []), (["a", 5, None, {}], ["a"]), ({"a": 1}, ["a"])],
)
def test_ids_come_as_a_list_or_as_one_text(given: Any, ids: list[str]) -> None:
    assert ids_in({"delete": given}, "delete") == ids


@pytest.mark.parametrize("given", [None, 5])
def test_ids_of_another_kind_are_a_broken_body(given: Any) -> None:
    with pytest.raises(BrokenBody):
        ids_in({"delete": given}, "delete")


@pytest.mark.parametrize(("query", "value"), [("", None), ("n=5", 5), ("n=-1", -1), ("n=%2B7", 7)])
def test_a_number_of_the_query(query: str, value: int | None) -> None:
    assert integer(request(query=query), "n") == value


@pytest.mark.parametrize("query", ["n=", "n=x", "n=1.5"])
def test_what_is_no_number_is_a_broken_body_as_in_comfyui(query: str) -> None:
    with pytest.raises(BrokenBody):
        integer(request(query=query), "n")


def test_answers_are_written_as_pythons_encoder_writes_them() -> None:
    answer = as_json({"ü": [1.0, float("nan")]}, 201, {"X-Y": "z"})
    assert (answer.status_code, answer.body) == (201, b'{"\\u00fc": [1.0, NaN]}')
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers["x-y"] == "z"
    assert raw_json(b"{}").headers["content-type"] == answer.headers["content-type"]
    assert raw_json(b"{}", 409).body == b"{}"


def test_an_empty_answer_has_no_content_type() -> None:
    assert (empty().status_code, empty().body) == (200, b"")
    assert "content-type" not in empty().headers
