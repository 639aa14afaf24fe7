from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.ids import AttemptId, PromptId
from gateway.domain.posting import (
    OURS,
    SECRETS,
    answer,
    body_for_worker,
    digest,
    kept_body,
    parent_of,
    queue_tail,
    split_secrets,
)
from gateway.domain.submission import Submission, parse

GRAPH = {"1": {"class_type": "X", "inputs": {"text": 'a "}}" \u00e9 \U0001f600'}}}
KEYS = {"api_key_comfy_org": "sk-1", "auth_token_comfy_org": "t-1"}

hostile = st.sampled_from(
    ["extra_data", '"extra_data": {', "}}", "{", "client_id", "prompt_id", "prompt", OURS, *SECRETS, "", "\\", "\u2028"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | hostile | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(hostile | st.text(), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(hostile | st.text(max_size=5), values, max_size=4)


def submission(**body: Any) -> Submission:
    return parse({"prompt": GRAPH, **body}, PromptId("minted"))


def posted(sent: Submission, secrets: dict[str, Any] | None = None) -> dict[str, Any]:
    kept = kept_body(sent, split_secrets(sent.extra_data)[0])
    told = body_for_worker(
        kept, secrets or {}, sid="sid", prompt_id=PromptId("public"), attempt=AttemptId("attempt"), number=2
    )
    body: dict[str, Any] = json.loads(told, object_pairs_hook=without_twins)
    return body


def without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A key that comes twice is read by one parser in one way and by the next in another."""
    assert len({key for key, _ in pairs}) == len(pairs), pairs
    return dict(pairs)


MARK = {"prompt_id": "public", "attempt": 2, "attempt_id": "attempt"}


@pytest.mark.parametrize("extra_data", [{}, {"a": 1}, {"extra_data": {}}, {"a": {}}, {"a": '"extra_data": {'}])
@pytest.mark.parametrize("secrets", [{}, KEYS])
def test_a_worker_is_told_whose_attempt_it_is(extra_data: dict[str, Any], secrets: dict[str, Any]) -> None:
    assert posted(submission(extra_data=extra_data), secrets) == {
        "prompt": GRAPH,
        "extra_data": {**extra_data, **secrets, OURS: MARK},
        "client_id": "sid",
        "prompt_id": "attempt",
    }


def test_what_is_the_clients_own_business_does_not_reach_a_worker() -> None:
    sent = submission(
        client_id="me", prompt_id="mine", number=3, front=True, extra_data={OURS: {"prompt_id": "forged"}, **KEYS}
    )
    body = posted(sent)
    assert body["client_id"] == "sid"
    assert body["prompt_id"] == "attempt"
    assert body["extra_data"] == {OURS: MARK}
    assert set(body) == {"prompt", "extra_data", "client_id", "prompt_id"}


def test_targets_and_what_custom_nodes_read_go_along() -> None:
    body = posted(submission(partial_execution_targets=["1"], workflow_name="w", extra_data={}))
    assert body["partial_execution_targets"] == ["1"]
    assert body["workflow_name"] == "w"
    assert "partial_execution_targets" not in posted(submission())


def test_numbers_that_are_none_arrive_as_they_came() -> None:
    body = posted(submission(extra_data={"a": math.nan, "b": [math.inf]}, more=-math.inf))
    assert math.isnan(body["extra_data"]["a"])
    assert body["extra_data"]["b"] == [math.inf]
    assert body["more"] == -math.inf


@settings(deadline=None, derandomize=True, max_examples=100)
@given(extra_data=objects, rest=objects, secrets=st.dictionaries(st.sampled_from(SECRETS), values))
def test_no_key_and_no_text_breaks_the_body(
    extra_data: dict[str, Any], rest: dict[str, Any], secrets: dict[str, Any]
) -> None:
    taken = {"prompt", "prompt_id", "client_id", "extra_data", "number", "front", "partial_execution_targets"}
    rest = {key: value for key, value in rest.items() if key not in taken}
    extra_data.pop("client_id", None)
    kept = {key: value for key, value in extra_data.items() if key not in (OURS, *SECRETS)}
    assert posted(submission(extra_data=extra_data, **rest), secrets) == {
        **rest,
        "prompt": GRAPH,
        "extra_data": {**kept, **secrets, OURS: MARK},
        "client_id": "sid",
        "prompt_id": "attempt",
    }


def test_api_keys_are_told_apart() -> None:
    assert split_secrets({"a": 1, **KEYS}) == ({"a": 1}, KEYS)
    assert split_secrets({}) == ({}, {})


def test_a_queue_item_shows_nothing_of_ours_and_no_api_key() -> None:
    tail = queue_tail(PromptId("p"), GRAPH, {"a": 1, OURS: MARK, **KEYS, "client_id": "me"}, ["1"])
    assert json.loads(b"[5" + tail) == [5, "p", GRAPH, {"a": 1, "client_id": "me"}, ["1"]]


@pytest.mark.parametrize(
    ("extra_data", "parent"),
    [
        ({OURS: MARK}, "public"),
        ({}, None),
        ({OURS: "public"}, None),
        ({OURS: {}}, None),
        ({OURS: {"prompt_id": 5}}, None),
    ],
)
def test_a_copied_mark_names_the_parent(extra_data: dict[str, Any], parent: str | None) -> None:
    assert parent_of(extra_data) == parent


def test_the_same_is_asked_for_by_graph_and_targets_alone() -> None:
    first = digest(submission(client_id="a", extra_data={"x": 1}))
    assert first == digest(submission(number=4, client_id="b"))
    assert first != digest(submission(partial_execution_targets=["1"]))
    assert first != digest(submission(partial_execution_targets=[]))
    assert first != digest(submission(prompt={**GRAPH, "2": {"class_type": "Y"}}))
    two = {"1": {"class_type": "X"}, "2": {"class_type": "Y"}}
    assert digest(submission(prompt=two)) == digest(submission(prompt=dict(reversed(two.items()))))


@pytest.mark.parametrize("number", ["0", "-4", "2.5"])
def test_the_answer_is_spelt_as_comfyui_spells_it(number: str) -> None:
    told = {"prompt_id": "p \u00e9", "number": json.loads(number), "node_errors": {"1": {"errors": []}}}
    assert answer(PromptId("p \u00e9"), number, b'{"1": {"errors": []}}') == json.dumps(told).encode()
