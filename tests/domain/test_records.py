"""Recorded histories, turned into the farm's as if the recorded worker had run an attempt of a prompt."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.domain.ids import AttemptId, PromptId
from gateway.domain.jobs import Job, Outcome
from gateway.domain.posting import OURS
from gateway.domain.records import (
    Record,
    detail,
    made,
    out_of_memory,
    outcome_of,
    public,
    ran_seconds,
    story,
    summary,
    waiting_summary,
    workflow_id,
)
from tests.domain.catalogues import RECORDINGS
from tests.domain.facts import job

ATTEMPT = AttemptId("0a1b2c3d-0000-4000-8000-00000000000f")
OUT_OF_MEMORY = "dfff17dd-8a8b-4c6d-8e1a-2149f01d9634"
OUTCOMES = {
    "success": [Outcome.SUCCEEDED] * 2,
    "failing": [Outcome.FAILED] * 2,
    "interrupting": [Outcome.INTERRUPTED, Outcome.INTERRUPTED, Outcome.SUCCEEDED],
    "ids": [Outcome.SUCCEEDED],
}


def histories(recording: str) -> dict[str, Record]:
    """By prompt_id, each record once."""
    found: dict[str, Record] = {}
    for entry in json.loads((RECORDINGS / f"{recording}.json").read_text()):
        if entry.get("http", {}).get("path", "").startswith("/history/") and entry["body"].get("json"):
            found.update(entry["body"]["json"])
    return found


def all_histories() -> Iterator[Any]:
    for recording, outcomes in OUTCOMES.items():
        records = histories(recording).items()
        for number, ((id, record), outcome) in enumerate(zip(records, outcomes, strict=True)):
            yield pytest.param(id, record, outcome, id=f"{recording}-{number}")


def job_of(record: Record, id: str = "p-1") -> Job:
    """The prompt that a recorded client would have submitted."""
    _, _, graph, extra_data, outputs = record["prompt"]
    rest = {key: value for key, value in extra_data.items() if key != "client_id"}
    client = extra_data.get("client_id")
    return job(id, number="41", graph=graph, extra_data=rest, client_id=client, outputs=tuple(outputs))


def as_attempt(id: str, record: Record) -> Record:
    """What a worker would tell of an attempt at it: its own number, our client_id and our mark."""
    told: Record = json.loads(json.dumps(record).replace(id, ATTEMPT))
    mark = {"prompt_id": "p-1", "attempt": 1, "attempt_id": ATTEMPT}
    told["prompt"][0] = 3
    told["prompt"][3] = {**told["prompt"][3], OURS: mark, "client_id": "sid-of-the-gateway"}
    return told


@pytest.mark.parametrize(("id", "record", "outcome"), [*all_histories()])
def test_a_recorded_history_comes_back_as_it_was_but_for_its_id(id: str, record: Record, outcome: Outcome) -> None:
    told = as_attempt(id, record)
    before = copy.deepcopy(told)
    shown = public(told, job_of(record), ATTEMPT)
    assert told == before
    wanted = json.loads(json.dumps(record).replace(id, "p-1"))
    wanted["prompt"][0] = 41
    assert shown == wanted
    assert outcome_of(told) is outcome
    assert out_of_memory(told) is (id == OUT_OF_MEMORY)


@pytest.mark.parametrize("id", ['say "hi" \\ \u00e9\U0001f600', "x" * 512, "1", "\x00"])
def test_no_prompt_id_breaks_a_record(id: str) -> None:
    recorded, record = next(iter(histories("failing").items()))
    told = as_attempt(recorded, record)
    told["outputs"] = {"9": {"text": [f"I am {ATTEMPT}", ATTEMPT], f"of {ATTEMPT}": [float("nan")]}}
    shown = public(told, job_of(record, id), ATTEMPT)
    assert ATTEMPT not in json.dumps(shown)
    assert shown["prompt"][1] == id
    assert shown["outputs"]["9"]["text"] == [f"I am {id}", id]
    assert f"of {id}" in shown["outputs"]["9"]
    assert shown["status"]["messages"][0][1]["prompt_id"] == id


@pytest.mark.parametrize(
    ("client_id", "sent"), [("me", {"a": 1}), (None, {"a": 1}), (None, {}), ("me", {"create_time": 5})]
)
def test_extra_data_is_the_clients_own_again(client_id: str | None, sent: dict[str, Any]) -> None:
    """A worker of the newer generation notes when it got the prompt: here that is when the farm got it."""
    prompt = job(client_id=client_id, extra_data=sent, created_at=12.5)
    old = {**sent, OURS: {}, "client_id": "sid", "api_key_comfy_org": "sk-1", "auth_token_comfy_org": "t"}
    for told, create_time in ((old, {}), ({**old, "create_time": 99}, {"create_time": 12500})):
        record: Record = {"prompt": [0, ATTEMPT, {}, told, ["1"]], "outputs": {}, "status": None}
        client = {"client_id": client_id} if client_id else {}
        kept = {"create_time": 12500} if "create_time" in sent else {}
        assert public(record, prompt, ATTEMPT)["prompt"] == [
            7,
            "p-1",
            {},
            {**sent, **client, **create_time, **kept},
            ["1"],
        ]


def test_a_client_id_that_was_no_text_comes_back_as_it_was() -> None:
    prompt = job(client_id=None, extra_data={"client_id": 5})
    record: Record = {"prompt": [0, ATTEMPT, {}, {OURS: {}, "client_id": "sid"}, []], "outputs": {}}
    assert public(record, prompt, ATTEMPT)["prompt"][3] == {"client_id": 5}


def ended(*messages: Any, status: str = "error") -> Record:
    return {"prompt": [0, "x", {}, {}, []], "outputs": {}, "status": {"status_str": status, "messages": [*messages]}}


@pytest.mark.parametrize(
    ("record", "outcome"),
    [
        (ended(status="success"), Outcome.SUCCEEDED),
        (ended(["execution_interrupted", {}], status="success"), Outcome.SUCCEEDED),
        (ended(["execution_error", {}]), Outcome.FAILED),
        (ended(["execution_start", {}], ["execution_interrupted", {}]), Outcome.INTERRUPTED),
        (ended(), Outcome.FAILED),
        ({"outputs": {}}, Outcome.SUCCEEDED),
        ({"outputs": {}, "status": None}, Outcome.SUCCEEDED),
        ({"status": {"status_str": "error", "messages": None}}, Outcome.FAILED),
        (ended("execution_interrupted", ["execution_interrupted"], [], None, ["a", 5]), Outcome.FAILED),
        (ended(["execution_interrupted", {}, "more"]), Outcome.INTERRUPTED),
    ],
)
def test_how_it_ended(record: Record, outcome: Outcome) -> None:
    assert outcome_of(record) is outcome


@pytest.mark.parametrize(
    ("record", "oom"),
    [
        (ended(["execution_error", {"exception_type": "torch.OutOfMemoryError"}]), True),
        (ended(["execution_error", {"exception_type": "torch.cuda.OutOfMemoryError"}]), True),
        (ended(["execution_error", {"exception_type": "RuntimeError"}]), False),
        (ended(["execution_error", {"exception_type": None}]), False),
        (ended(["execution_error", {}]), False),
        (ended(["execution_interrupted", {"exception_type": "OutOfMemoryError"}]), False),
        (ended(), False),
    ],
)
def test_want_of_memory_is_told_from_other_errors(record: Record, oom: bool) -> None:
    assert out_of_memory(record) is oom


def test_how_long_it_ran() -> None:
    assert ran_seconds(ended()) == 0.0
    assert ran_seconds(ended(["a", {"timestamp": 1500}], ["b", {}], ["c", {"timestamp": 4000}])) == 2.5
    record = next(iter(histories("success").values()))
    stamps = [data["timestamp"] for _, data in record["status"]["messages"]]
    assert ran_seconds(record) == (stamps[-1] - stamps[0]) / 1000


@pytest.mark.parametrize(("id", "record", "outcome"), [*all_histories()])
def test_the_job_object_of_a_recorded_history(id: str, record: Record, outcome: Outcome) -> None:
    told = dict(record["status"]["messages"])
    end = {Outcome.SUCCEEDED: "success", Outcome.FAILED: "error", Outcome.INTERRUPTED: "interrupted"}[outcome]
    status = {Outcome.SUCCEEDED: "completed", Outcome.FAILED: "failed", Outcome.INTERRUPTED: "cancelled"}[outcome]
    wanted: dict[str, Any] = {
        "id": "p-1",
        "status": status,
        "priority": 41,
        "create_time": 1000500,
        "execution_start_time": told["execution_start"]["timestamp"],
        "execution_end_time": told[f"execution_{end}"]["timestamp"],
        "outputs_count": 0,
        "previewable_outputs_count": 0,
    }
    if outcome is Outcome.FAILED:
        wanted["execution_error"] = told["execution_error"]
    if outcome is Outcome.SUCCEEDED:
        ((node, kinds),) = record["outputs"].items()
        shown = {**kinds["images"][0], "nodeId": node, "mediaType": "images"}
        wanted |= {"outputs_count": 1, "previewable_outputs_count": 1, "preview_output": shown}
    assert summary(job_of(record), record, outcome) == wanted


def test_a_job_in_full() -> None:
    record = next(iter(histories("success").values()))
    listed = summary(job_of(record), record, Outcome.SUCCEEDED)
    assert detail(listed, record) == {
        **listed,
        "outputs": record["outputs"],
        "execution_status": record["status"],
        "workflow": {"prompt": record["prompt"][2], "extra_data": record["prompt"][3]},
    }


def test_a_job_that_waits() -> None:
    prompt = job(extra_data={"extra_pnginfo": {"workflow": {"id": "w-1"}}}, number="-2")
    wanted = {"id": "p-1", "status": "pending", "priority": -2, "create_time": 1000500}
    counts = {"outputs_count": 0, "previewable_outputs_count": 0}
    assert waiting_summary(prompt, "pending") == {**wanted, **counts, "workflow_id": "w-1"}
    assert waiting_summary(job(number="-2"), "pending") == {**wanted, **counts}


def test_an_end_that_no_worker_told_names_the_reason() -> None:
    prompt = job(graph={"1": {}}, extra_data={"a": 1})
    record = made(prompt, Outcome.FAILED, "three workers were lost", 12.345)
    assert record["prompt"] == [7, "p-1", {"1": {}}, {"a": 1, "client_id": "client"}, ["3"]]
    ((event, data),) = record["status"]["messages"]
    recorded = dict(next(iter(histories("failing").values()))["status"]["messages"])["execution_error"]
    assert event == "execution_error"
    assert set(data) == set(recorded), "what clients read of an error is all there"
    assert (data["exception_message"], data["timestamp"]) == ("three workers were lost", 12345)
    assert outcome_of(record) is Outcome.FAILED
    assert summary(prompt, record, Outcome.FAILED)["execution_error"] == data


def test_an_interruption_that_no_worker_told() -> None:
    record = made(job(), Outcome.INTERRUPTED, "its worker was lost", 12.0)
    recorded = next(iter(histories("interrupting").values()))
    ((event, data),) = record["status"]["messages"]
    assert set(data) == set(dict(recorded["status"]["messages"])[event])
    assert outcome_of(record) is Outcome.INTERRUPTED
    assert set(record) == set(recorded)
    assert summary(job(), record, Outcome.INTERRUPTED)["status"] == "cancelled"


@pytest.mark.parametrize(
    ("extra_data", "found"),
    [
        ({"extra_pnginfo": {"workflow": {"id": "w"}}}, "w"),
        ({"extra_pnginfo": {"workflow": {"id": 5}}}, None),
        ({"extra_pnginfo": {"workflow": None}}, None),
        ({"extra_pnginfo": None}, None),
        ({"extra_pnginfo": []}, None),
        ({}, None),
        (None, None),
    ],
)
def test_a_workflow_id_is_read_from_anything(extra_data: Any, found: str | None) -> None:
    assert workflow_id(extra_data) == found


def test_a_record_tells_its_story_to_who_heard_nothing_of_it() -> None:
    output = {"images": [{"filename": "a.png", "subfolder": "", "type": "output"}]}
    start, end = ["execution_start", {"prompt_id": "p"}], ["execution_success", {"prompt_id": "p"}]
    record = {"outputs": {"3:1": output}, "meta": {"3:1": {"display_node": "3"}}, "status": {"messages": [start, end]}}
    executed = {"node": "3:1", "display_node": "3", "output": output, "prompt_id": "p"}
    assert story(record, PromptId("p")) == [tuple(start), ("executed", executed)]
    assert story({**record, "status": {"messages": [end]}}, PromptId("p")) == []
