from __future__ import annotations

import json
from dataclasses import replace

import pytest

from gateway.domain.ids import AttemptId, PromptId, WorkerName
from gateway.domain.jobs import (
    Accepted,
    Assigned,
    Attempt,
    Ended,
    Outcome,
    Queued,
    Running,
    State,
    attempt_of,
    is_live,
)
from tests.domain.facts import job

W, A = WorkerName("w"), AttemptId("a")
HELD = Attempt(PromptId("p-1"), W, A)


@pytest.mark.parametrize(
    ("state", "live", "attempt"),
    [
        (Accepted(W, A, "replica"), False, HELD),
        (Queued(), True, None),
        (Assigned(W, A, False, 1.0, "replica"), True, HELD),
        (Assigned(W, A, True, 1.0, "replica"), True, HELD),
        (Running(W, A, 1.0), True, HELD),
        (Ended(Outcome.SUCCEEDED, 1.0, 5, W, b"{}"), False, None),
        (Ended(Outcome.CANCELLED, 1.0, 0, None, b""), False, None),
    ],
)
def test_what_clients_see_and_what_holds_a_slot(state: State, live: bool, attempt: Attempt | None) -> None:
    assert is_live(job(state=state)) is live
    assert attempt_of(job(state=state)) == attempt


@pytest.mark.parametrize("number", ["0", "-3", "2.5", "1e+20"])
def test_a_queue_item_is_comfyuis(number: str) -> None:
    prompt = job('a "b" \u00e9', number=number, graph={"1": {"class_type": "X"}}, extra_data={"nan": [1, None]})
    item = json.loads(prompt.item())
    extra_data = {"nan": [1, None], "client_id": "client"}
    assert item == [json.loads(number), 'a "b" \u00e9', {"1": {"class_type": "X"}}, extra_data, ["3"]]
    assert prompt.order == float(number)
    assert prompt.item().startswith(b"[" + number.encode() + b', "a \\"b\\" \\u00e9", {"1": ')


def test_whose_it_is() -> None:
    assert job(client_id="me").caller == "me"
    assert job(client_id=None).caller == "10.0.0.1"


def test_what_it_takes_up_is_no_part_of_what_it_is() -> None:
    assert replace(job(), size=1) == replace(job(), size=2)
    assert replace(job(), crashes=1) != job()
