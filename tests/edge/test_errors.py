from __future__ import annotations

import json

import pytest
from starlette.requests import Request

from gateway.domain import errors
from gateway.domain.errors import GatewayError
from gateway.edge.errors import STATUS, on_anything, on_gateway_error, status_of

pytestmark = pytest.mark.anyio

REQUEST = Request({"type": "http", "method": "GET", "path": "/", "headers": []})


def all_below(root: type[GatewayError]) -> set[type[GatewayError]]:
    return {root}.union(*(all_below(child) for child in root.__subclasses__()))


def test_every_error_has_its_status() -> None:
    ours = {error for error in all_below(GatewayError) - {GatewayError} if error.__module__ == errors.__name__}
    assert ours == set(STATUS)


def test_the_most_specific_class_decides_and_the_unknown_is_500() -> None:
    assert status_of(errors.PromptConflict("x", "y")) == 409
    assert status_of(errors.BrokenBody("x")) == 500
    assert status_of(ValueError()) == 500

    class Newer(errors.NotFound):
        pass

    assert status_of(Newer()) == 404


async def test_a_refused_prompt_has_comfyuis_shape() -> None:
    error = errors.PromptRefused("kind", "words", details="more", extra_info={"a": 1}, node_errors={"1": {}})
    answer = await on_gateway_error(REQUEST, error)
    assert answer.status_code == 400
    assert json.loads(bytes(answer.body)) == {
        "error": {"type": "kind", "message": "words", "details": "more", "extra_info": {"a": 1}},
        "node_errors": {"1": {}},
    }
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert "retry-after" not in answer.headers


@pytest.mark.parametrize(
    ("error", "status", "after"),
    [
        (errors.CallerQueueFull("queue_full", "full", retry_after=2.1), 429, "3"),
        (errors.FarmQueueFull("queue_full", "full", retry_after=600), 503, "600"),
        (errors.StoreUnavailable("away"), 503, "5"),
        (errors.NoWorker("none"), 503, "5"),
    ],
)
async def test_what_passes_says_when_to_come_again(error: GatewayError, status: int, after: str) -> None:
    answer = await on_gateway_error(REQUEST, error)
    assert (answer.status_code, answer.headers["retry-after"]) == (status, after)
    assert set(json.loads(bytes(answer.body))["error"]) == {"type", "message", "details", "extra_info"}


async def test_what_comfyui_breaks_at_breaks_in_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    for answer in (await on_gateway_error(REQUEST, errors.BrokenBody("x")), await on_anything(REQUEST, ValueError())):
        assert (answer.status_code, answer.body) == (500, b"500 Internal Server Error\n\nServer got itself in trouble")
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"


async def test_a_workers_error_is_handed_on() -> None:
    answer = await on_gateway_error(REQUEST, errors.WorkerRejected(418, b"\x00tea", "text/tea"))
    assert (answer.status_code, answer.body, answer.headers["content-type"]) == (418, b"\x00tea", "text/tea")


async def test_a_bad_request_names_its_field() -> None:
    answer = await on_gateway_error(REQUEST, errors.BadRequest("no such thing", field="url"))
    told = json.loads(bytes(answer.body))["error"]
    assert (answer.status_code, told["type"], told["extra_info"]) == (400, "bad_request", {"field": "url"})


async def test_a_body_too_large_is_told_in_comfyuis_words() -> None:
    answer = await on_gateway_error(REQUEST, errors.BodyTooLarge(100))
    assert (answer.status_code, answer.body) == (413, b"Maximum request body size 100 exceeded.")
