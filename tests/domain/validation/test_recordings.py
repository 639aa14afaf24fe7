"""What a real ComfyUI 0.3.64 answered to bad prompts, replayed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.domain import submission
from gateway.domain.errors import BrokenBody, PromptRefused
from gateway.domain.ids import PromptId
from gateway.domain.validation import Invalid, validate
from tests.domain.catalogues import RECORDINGS, recorded

NODES = recorded().nodes


def posts(recording: str) -> Iterator[Any]:
    for entry in json.loads((RECORDINGS / recording).read_text()):
        http = entry.get("http", {})
        if http.get("method") == "POST" and http.get("path") == "/prompt" and "json" in http and entry.get("status"):
            yield pytest.param(entry, id=f"{recording}: {entry.get('note')}")


def answer(body: Any) -> tuple[int, Any]:
    try:
        sent = submission.parse(body, PromptId("minted"))
    except BrokenBody:
        return 500, None
    except PromptRefused as refused:
        return 400, refused.body()
    verdict = validate(sent.graph, NODES, targets=sent.targets, has_file=lambda name: name != "missing.png")
    if isinstance(verdict, Invalid):
        return 400, verdict.body()
    return 200, verdict.node_errors


def without_tracebacks(body: Any) -> Any:
    """The lines of ComfyUI's own source are the one thing that the gateway does not tell."""
    return json.loads(
        json.dumps(body), object_hook=lambda part: {**part, "traceback": []} if "traceback" in part else part
    )


@pytest.mark.parametrize("entry", [*posts("invalid.json")])
def test_bad_prompts_are_answered_as_recorded(entry: Any) -> None:
    if "Origin" in entry["http"].get("headers", {}):
        entry = {**entry, "status": 200, "body": {"json": {"node_errors": {}}}}
    status, body = answer(entry["http"]["json"])
    assert status == entry["status"]
    if status == 500:
        return
    wanted = entry["body"]["json"] if status == 400 else entry["body"]["json"]["node_errors"]
    assert json.dumps(body) == json.dumps(without_tracebacks(wanted))


def test_enough_was_recorded() -> None:
    assert len([*posts("invalid.json")]) >= 16


@pytest.mark.parametrize(
    "entry", [*posts("success.json"), *posts("queueing.json"), *posts("ids.json"), *posts("failing.json")]
)
def test_good_prompts_are_taken_as_recorded(entry: Any) -> None:
    status, node_errors = answer(entry["http"]["json"])
    assert status == entry["status"]
    if status == 200:
        assert node_errors == entry["body"]["json"]["node_errors"]
