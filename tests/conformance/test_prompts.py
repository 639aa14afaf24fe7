"""POST /prompt: what is taken, what is refused, and in which words."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from tests.conformance.client import Client, picture, sleeping

pytestmark = pytest.mark.anyio

BROKEN = "500 Internal Server Error\n\nServer got itself in trouble"


@pytest.mark.parametrize("path", ["/prompt", "/api/prompt"])
async def test_a_prompt_is_taken_and_numbered(client: Client, path: str) -> None:
    answer = await client.post(path, {"prompt": picture()})
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    told = answer.json
    assert list(told) == ["prompt_id", "number", "node_errors"]
    assert str(uuid.UUID(told["prompt_id"])) == told["prompt_id"]
    assert told["node_errors"] == {}
    assert (await client.finished(told["prompt_id"]))["status"]["status_str"] == "success"


async def test_numbers_rise(client: Client) -> None:
    numbers = [(await client.post("/prompt", {"prompt": picture()})).json["number"] for _ in range(3)]
    assert numbers == sorted(set(numbers))


async def test_the_id_of_the_client_is_kept(client: Client) -> None:
    prompt_id = str(uuid.uuid4())
    record = await client.run(picture(), prompt_id=prompt_id)
    assert record["prompt"][1] == prompt_id


async def test_an_id_that_is_no_uuid(client: Client) -> None:
    answer = await client.post("/prompt", {"prompt": picture(), "prompt_id": f"my-{uuid.uuid4().hex}"})
    if client.target.is_new and not client.target.differs("any-id"):
        assert answer.status == 400
        assert answer.json["error"]["type"] == "invalid_prompt_id"
        assert answer.json["error"]["message"] == "prompt_id must be a valid UUID"
    else:
        assert answer.status == 200
        assert answer.json["prompt_id"].startswith("my-")


async def test_the_same_id_again(client: Client) -> None:
    prompt_id = str(uuid.uuid4())
    first, second = picture(), picture()
    await client.run(first, prompt_id=prompt_id)
    answer = await client.post("/prompt", {"prompt": second, "prompt_id": prompt_id})
    if client.target.differs("reused-id"):
        assert answer.status == 409
        assert set(answer.json) == {"error", "node_errors"}
    else:
        assert answer.status == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "application/octet-stream"])
async def test_json_is_read_whatever_its_type_says(client: Client, kind: str) -> None:
    body = json.dumps({"prompt": picture()}).encode()
    assert (await client.ask("POST", "/prompt", data=body, headers={"Content-Type": kind})).status == 200


@pytest.mark.parametrize(
    "body", [b"", b"{bad", b"5", b"null", b'{"prompt": null}', b'{"prompt": "x"}', b'{"prompt": 5}']
)
async def test_what_is_no_prompt_at_all_is_a_bare_500(client: Client, body: bytes) -> None:
    answer = await client.ask("POST", "/prompt", data=body)
    assert (answer.status, answer.text) == (500, BROKEN)
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("number", [None, "x", [], {}])
async def test_a_number_that_is_none_is_a_bare_500(client: Client, number: Any) -> None:
    assert (await client.post("/prompt", {"prompt": picture(), "number": number})).status == 500


async def test_a_workflow_of_the_editor_is_a_bare_500(client: Client) -> None:
    assert (await client.post("/prompt", {"prompt": {"last_node_id": 9, "nodes": [], "version": 0.4}})).status == 500


@pytest.mark.parametrize("body", [{}, [], {"other": 1}])
async def test_no_prompt(client: Client, body: Any) -> None:
    answer = await client.post("/prompt", body)
    assert answer.status == 400
    text = "No prompt provided"
    error = {"type": "no_prompt", "message": text, "details": text, "extra_info": {}}
    assert answer.json == {"error": error, "node_errors": {}}


@pytest.mark.parametrize("graph", [{}, {"1": picture()["1"]}])
async def test_no_outputs(client: Client, graph: Any) -> None:
    answer = await client.post("/prompt", {"prompt": graph})
    assert answer.status == 400
    error = {"type": "prompt_no_outputs", "message": "Prompt has no outputs", "details": "", "extra_info": {}}
    assert answer.json == {"error": error, "node_errors": {}}


async def test_a_class_that_nobody_has(client: Client) -> None:
    answer = await client.post("/prompt", {"prompt": {**picture(), "9": {"class_type": "Nope", "inputs": {}}}})
    assert answer.status == 400
    error = answer.json["error"]
    assert error["details"] == "Node ID '#9'"
    assert answer.json["node_errors"] == {}
    if client.target.is_new:
        assert error["type"] == "missing_node_type"
        assert error["message"] == "Node 'Nope' not found. The custom node may not be installed."
        assert error["extra_info"] == {"node_id": "9", "class_type": "Nope", "node_title": "Nope"}
    else:
        assert error["type"] == "invalid_prompt"
        assert error["message"] == "Cannot execute because node Nope does not exist."
        assert error["extra_info"] == {}


async def test_a_node_without_a_class(client: Client) -> None:
    answer = await client.post("/prompt", {"prompt": {**picture(), "9": {"inputs": {}}}})
    assert answer.status == 400
    assert answer.json["error"]["type"] == ("missing_node_type" if client.target.is_new else "invalid_prompt")
    assert answer.json["error"]["details"] == "Node ID '#9'"


WRONG = {
    "required_input_missing": ("image", None),
    "invalid_input_type": ("seconds", "abc"),
    "value_smaller_than_min": ("steps", 0),
    "value_bigger_than_max": ("steps", 1001),
    "bad_linked_input": ("image", [1]),
}


@pytest.mark.parametrize("kind", WRONG)
async def test_a_wrong_input_is_named(client: Client, kind: str) -> None:
    name, value = WRONG[kind]
    graph = sleeping(0.1)
    graph["2"]["inputs"][name] = value
    if value is None:
        del graph["2"]["inputs"][name]
    answer = await client.post("/prompt", {"prompt": graph})
    assert answer.status == 400
    told = answer.json
    assert told["error"]["type"] == "prompt_outputs_failed_validation"
    assert told["error"]["details"] == ""
    found = told["node_errors"]["2"]
    assert (found["class_type"], found["dependent_outputs"]) == ("ProbeSleep", ["3"])
    [error] = found["errors"]
    assert (error["type"], error["extra_info"]["input_name"]) == (kind, name)


async def test_a_value_that_is_not_in_the_list(client: Client) -> None:
    graph = {
        "1": picture()["1"],
        "2": {
            "class_type": "ProbeModel",
            "inputs": {"image": ["1", 0], "model": "zzz.safetensors", "load_seconds": 0.1},
        },
        "3": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}},
    }
    answer = await client.post("/prompt", {"prompt": graph})
    assert answer.status == 400
    [error] = answer.json["node_errors"]["2"]["errors"]
    assert error["type"] == "value_not_in_list"
    assert error["details"].startswith("model: 'zzz.safetensors' not in [")
    assert error["extra_info"]["received_value"] == "zzz.safetensors"


async def test_a_slot_of_another_type(client: Client) -> None:
    graph = {**picture(), "5": {"class_type": "VAEEncode", "inputs": {"pixels": ["1", 0], "vae": ["1", 0]}}}
    graph["6"] = {"class_type": "PreviewImage", "inputs": {"images": ["5", 0]}}
    answer = await client.post("/prompt", {"prompt": graph})
    assert answer.status == 200
    assert {error["type"] for error in answer.json["node_errors"]["6"]["errors"]} == {"return_type_mismatch"}


async def test_a_link_to_a_node_that_is_not_there(client: Client) -> None:
    graph = picture()
    graph["3"]["inputs"]["images"] = ["77", 0]
    answer = await client.post("/prompt", {"prompt": graph})
    assert answer.status == 400
    assert answer.json["error"]["details"] == "Exception when validating node: '77'"
    [error] = answer.json["node_errors"]["3"]["errors"]
    assert (error["type"], error["details"]) == ("exception_during_validation", "'77'")


async def test_a_file_that_is_not_there(client: Client) -> None:
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "missing-anywhere.png"}},
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }
    answer = await client.post("/prompt", {"prompt": graph})
    assert answer.status == 400
    [error] = answer.json["node_errors"]["1"]["errors"]
    assert error["type"] == "custom_validation_failed"
    assert error["details"] == "image - Invalid image file: missing-anywhere.png"


async def test_good_outputs_run_although_others_are_bad(client: Client) -> None:
    graph = {**picture(), "8": {"class_type": "PreviewImage", "inputs": {"images": ["99", 0]}}}
    answer = await client.post("/prompt", {"prompt": graph})
    assert answer.status == 200
    assert list(answer.json["node_errors"]) == ["8"]
    record = await client.finished(answer.json["prompt_id"])
    assert record["prompt"][4] == ["3"]
    assert list(record["outputs"]) == ["3"]


async def test_values_are_converted_and_extra_data_comes_back(client: Client) -> None:
    graph = picture()
    graph["1"]["inputs"]["width"] = "32"
    graph["1"]["_meta"] = {"title": "kept"}
    graph["3"]["inputs"]["unknown"] = "kept"
    extra = {"extra_pnginfo": {"workflow": {"id": "w", "nodes": []}}, "mine": [1, {"a": None}]}
    record = await client.run(graph, extra_data=extra)
    number, _, stored, extra_data, outputs = record["prompt"]
    assert isinstance(number, int)
    graph["1"]["inputs"]["width"] = 32
    assert stored == graph
    extra_data.pop("create_time", None)
    assert extra_data == {**extra, "client_id": client.client_id}
    assert outputs == ["3"]


async def test_only_the_targets_are_run(client: Client) -> None:
    graph = {**picture(), "4": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}}
    record = await client.run(graph, partial_execution_targets=["4", "nobody"])
    assert record["prompt"][4] == ["4"]
    assert list(record["outputs"]) == ["4"]


@pytest.mark.parametrize("targets", [[], ["1"]])
async def test_targets_that_are_no_outputs(client: Client, targets: list[str]) -> None:
    answer = await client.post("/prompt", {"prompt": picture(), "partial_execution_targets": targets})
    assert answer.status == 400
    assert answer.json["error"]["type"] == "prompt_no_outputs"


async def test_secrets_do_not_reach_the_history(client: Client) -> None:
    record = await client.run(picture(), extra_data={"api_key_comfy_org": "s3cret", "auth_token_comfy_org": "t0ken"})
    assert "s3cret" not in json.dumps(record)
    assert "t0ken" not in json.dumps(record)
