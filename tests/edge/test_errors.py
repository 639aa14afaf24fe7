from __future__ import annotations

import json

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from gateway.domain import errors
from gateway.domain.errors import GatewayError
from gateway.edge.errors import STATUS, Telling, on_gateway_error, status_of, trouble


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


def test_a_refused_prompt_has_comfyuis_shape() -> None:
    error = errors.PromptRefused("kind", "words", details="more", extra_info={"a": 1}, node_errors={"1": {}})
    answer = on_gateway_error(error)
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
def test_what_passes_says_when_to_come_again(error: GatewayError, status: int, after: str) -> None:
    answer = on_gateway_error(error)
    assert (answer.status_code, answer.headers["retry-after"]) == (status, after)
    assert set(json.loads(bytes(answer.body))["error"]) == {"type", "message", "details", "extra_info"}


def test_where_the_state_is_is_not_for_clients() -> None:
    answer = on_gateway_error(errors.StoreUnavailable("Error 111 connecting to 10.0.0.9:6379"))
    assert b"10.0.0.9" not in answer.body
    assert answer.headers["content-type"] == "application/json; charset=utf-8"


def test_what_comfyui_breaks_at_breaks_in_its_words() -> None:
    for answer in (on_gateway_error(errors.BrokenBody("x")), trouble()):
        assert (answer.status_code, answer.body) == (500, b"500 Internal Server Error\n\nServer got itself in trouble")
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_a_workers_error_is_handed_on() -> None:
    answer = on_gateway_error(errors.WorkerRejected(418, b"\x00tea", "text/tea"))
    assert (answer.status_code, answer.body, answer.headers["content-type"]) == (418, b"\x00tea", "text/tea")


def test_a_bad_request_names_its_field() -> None:
    answer = on_gateway_error(errors.BadRequest("no such thing", field="url"))
    told = json.loads(bytes(answer.body))["error"]
    assert (answer.status_code, told["type"], told["extra_info"]) == (400, "bad_request", {"field": "url"})


def test_a_body_too_large_is_told_in_comfyuis_words() -> None:
    answer = on_gateway_error(errors.BodyTooLarge(100))
    assert (answer.status_code, answer.body) == (413, b"Maximum request body size 100 exceeded.")


async def _nothing() -> Message:
    raise AssertionError("nobody reads")


async def _told(error: Exception, *, begun: bool) -> list[Message]:
    """What is sent when the app raises this, and the error that came out, as a last message."""
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise error

    async def send(message: Message) -> None:
        sent.append(message)

    try:
        await Telling(app)({"type": "http"}, _nothing, send)
    except Exception as raised:  # noqa: BLE001 - whatever it is
        sent.append({"type": "raised", "error": raised})
    return sent


@pytest.mark.anyio
async def test_what_is_raised_is_answered_once() -> None:
    start, body = await _told(errors.NotFound("no such thing"), begun=False)
    assert (start["status"], json.loads(body["body"])["error"]["message"]) == (404, "no such thing")


@pytest.mark.anyio
@pytest.mark.parametrize("error", [errors.NotFound("late"), ValueError("late")])
async def test_an_answer_that_has_begun_is_not_followed_by_another(error: Exception) -> None:
    start, raised = await _told(error, begun=True)
    assert (start["status"], raised) == (200, {"type": "raised", "error": error})


@pytest.mark.anyio
async def test_what_nobody_foresaw_is_answered_and_goes_on_to_the_log() -> None:
    error = ValueError("surprise")
    start, _, raised = await _told(error, begun=False)
    assert (start["status"], raised["error"]) == (500, error)


@pytest.mark.anyio
async def test_a_client_that_left_within_its_body_is_no_error() -> None:
    assert await _told(ClientDisconnect(), begun=False) == []
