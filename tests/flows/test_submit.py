"""What becomes of a POST /prompt: whose answer its sender gets, and that it is taken once or not at all."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import pytest

from gateway.emulator.settings import EmulatorSettings
from tests.farm import emulated, farm, invalid, picture, sleeping, with_model
from tests.scripted import NO, Scripted, loses, refuses, resets_after, resets_unread
from tests.servers import until

pytestmark = pytest.mark.anyio

OLD = EmulatorSettings(speed=4)
NEW = EmulatorSettings(speed=4, comfyui="0.38.1")


# whose answer it is


async def test_the_refusal_of_a_free_worker_is_the_clients_byte_for_byte(state: str, scripted_worker: Scripted) -> None:
    scripted_worker.manners.append(refuses(content_type="application/json; charset=latin-1"))
    async with farm(state, scripted_worker) as gateway:
        answer = await gateway.client().post(picture())
        assert (answer.status, answer.body) == (400, NO)
        assert answer.headers["Content-Type"] == "application/json; charset=latin-1"


@pytest.mark.parametrize("worker", [OLD, NEW], ids=lambda worker: str(worker.comfyui))
async def test_a_refusal_is_the_same_as_from_the_worker_itself(state: str, worker: EmulatorSettings) -> None:
    async with emulated(worker) as workers, farm(state, *workers) as gateway:
        for graph in (invalid(), {}, {"1": {"class_type": "Nobody", "inputs": {}}}):
            client = gateway.client()
            direct = await client.ask("POST", "/gateway/workers/w0/prompt", json={"prompt": graph})
            answer = await client.post(graph)
            assert (answer.status, answer.body) == (direct.status, direct.body)
            assert answer.headers["Content-Type"] == direct.headers["Content-Type"]


async def test_a_worker_that_stumbles_is_heard_too(state: str, scripted_worker: Scripted) -> None:
    scripted_worker.manners.append(refuses(b"500 Internal", 500, "text/plain; charset=utf-8"))
    async with farm(state, scripted_worker) as gateway:
        answer = await gateway.client().post(picture())
        assert (answer.status, answer.body) == (500, b"500 Internal")
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert await gateway.client().queue() == ([], [])


@pytest.mark.parametrize("busy", [False, True])
async def test_errors_of_outputs_that_are_left_out_come_with_the_200(state: str, busy: bool) -> None:
    graph = picture()
    graph["9"] = {"class_type": "PreviewImage", "inputs": {}}
    async with emulated(OLD) as workers, farm(state, *workers) as gateway:
        client = gateway.client()
        blocker = await client.submit(sleeping()) if busy else ""
        answer = (await client.post(graph)).json
        assert list(answer) == ["prompt_id", "number", "node_errors"]
        (error,) = answer["node_errors"]["9"]["errors"]
        assert error["type"] == "required_input_missing"
        if busy:
            await client.send("/interrupt", {"prompt_id": blocker})
        record = await client.ended(answer["prompt_id"])
        assert list(record["outputs"]) == ["3"]
        assert record["prompt"][4] == ["3"]


async def test_a_plain_error_is_told_at_once_though_all_are_busy(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        await client.submit(sleeping())
        answer = await client.post(invalid())
        assert answer.status == 400
        assert answer.json["error"]["type"] == "prompt_outputs_failed_validation"
        assert len(scripted_worker.received) == 1


# ids


@pytest.mark.parametrize("id", ["mine", "a/b ü", "🙂" * 5, "00000000-0000-4000-8000-00000000000A"])
async def test_any_id_is_kept_whatever_the_worker_takes(state: str, id: str) -> None:
    async with emulated(NEW) as workers, farm(state, *workers) as gateway:
        client = gateway.client()
        answer = (await client.post(picture(), prompt_id=id)).json
        assert answer["prompt_id"] == id
        record = await client.ended(id)
        assert record["prompt"][1] == id
        assert {data["prompt_id"] for _, data in record["status"]["messages"]} == {id}
        listed = await client.get("/api/jobs")
        assert [job["id"] for job in listed["jobs"]] == [id]


async def test_a_worker_that_gives_ids_of_its_own_is_followed(state: str, scripted_worker: Scripted) -> None:
    scripted_worker.mints = True
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        id = await client.submit(picture())
        scripted_worker.finish()
        record = await client.ended(id)
        assert record["prompt"][1] == id
        assert record["status"]["messages"][0][1]["prompt_id"] == id
        assert scripted_worker.prompts() == [id]


async def test_without_an_id_one_is_minted(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker) as gateway:
        id = await gateway.client().submit(picture())
        assert str(uuid.UUID(id)) == id


@pytest.mark.parametrize("when", ["running", "waiting", "ended"])
async def test_the_same_prompt_again_is_answered_the_same_and_runs_once(
    state: str, scripted_worker: Scripted, when: str
) -> None:
    async with farm(state, scripted_worker) as gateway:
        client, id, graph = gateway.client(), str(uuid.uuid4()), picture()
        if when == "waiting":
            await client.submit(sleeping())
        first = await client.post(graph, prompt_id=id)
        if when == "ended":
            scripted_worker.finish()
            await client.ended(id)
        again = await client.post(graph, prompt_id=id)
        assert (again.status, again.body) == (first.status, first.body)
        if when == "waiting":
            scripted_worker.finish()
            await scripted_worker.runs(2)
        await until(lambda: scripted_worker.prompts().count(id) == 1, "it runs")
        assert (await client.post(graph, prompt_id=id)).body == first.body
        assert scripted_worker.prompts().count(id) == 1
        left = 0 if when == "ended" else 1

        async def only_it() -> bool:
            return sum(len(part) for part in await client.queue()) == left

        await until(only_it, "the record of the one before it is stored")


@pytest.mark.parametrize("busy", [False, True])
async def test_ten_at_once_at_two_gateways_are_one_prompt(state: str, scripted_worker: Scripted, busy: bool) -> None:
    async with farm(state, scripted_worker, replicas=2) as gateway:
        clients = [gateway.client("me", at) for at in (0, 1)]
        if busy:
            await clients[0].submit(sleeping())
        id, graph = str(uuid.uuid4()), picture()
        answers = await asyncio.gather(*(clients[n % 2].post(graph, prompt_id=id) for n in range(10)))
        assert {(answer.status, answer.body) for answer in answers} == {(200, answers[0].body)}
        if busy:
            scripted_worker.finish()
        await until(lambda: id in scripted_worker.prompts(), "it runs")
        scripted_worker.finish()
        await clients[1].ended(id)
        assert scripted_worker.prompts().count(id) == 1
        assert [job["id"] for job in (await clients[0].get("/api/jobs"))["jobs"]].count(id) == 1


async def test_another_prompt_under_a_known_id_is_a_conflict(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        id = await client.submit(picture())
        answer = await client.post(picture(), prompt_id=id)
        assert answer.status == 409
        assert set(answer.json) == {"error", "node_errors"}
        assert set(answer.json["error"]) == {"type", "message", "details", "extra_info"}
        assert id in answer.json["error"]["details"]
        assert len(scripted_worker.received) == 1


async def test_an_id_that_came_to_nothing_is_free_again(state: str, scripted_worker: Scripted) -> None:
    scripted_worker.manners.append(refuses())
    async with farm(state, scripted_worker) as gateway:
        client, id = gateway.client(), str(uuid.uuid4())
        assert (await client.post(picture(), prompt_id=id)).status == 400
        assert (await client.ask("GET", f"/gateway/jobs/{id}")).status == 404
        assert (await client.post(picture(), prompt_id=id)).status == 200


# room


@pytest.mark.parametrize(
    ("limit", "status", "mine"),
    [
        ({"max_queue": 2}, 503, False),
        ({"max_queue_per_caller": 2}, 429, True),
        ({"max_queue_bytes": 6000}, 503, False),
    ],
)
async def test_a_full_queue_says_when_to_come_again(
    state: str, scripted_worker: Scripted, limit: dict[str, Any], status: int, mine: bool
) -> None:
    async with farm(state, scripted_worker, **limit) as gateway:
        client, somebody = gateway.client(), gateway.client()
        await client.submit(sleeping())
        graph = picture()
        graph["3"]["_meta"] = {"title": "x" * 800}
        for _ in range(2):
            await client.submit(graph)
        answer = await client.post(graph)
        assert answer.status == status
        assert 1 <= int(answer.headers["Retry-After"]) <= 600
        assert set(answer.json["error"]) == {"type", "message", "details", "extra_info"}
        assert (await somebody.post(graph)).status == (200 if mine else status)
        told = await client.get("/prompt")
        assert told["exec_info"]["queue_remaining"] == (4 if mine else 3)
        running = scripted_worker.finish()
        await scripted_worker.runs(2)
        assert scripted_worker.started[0] == running
        assert (await client.post(graph)).status == 200  # room again


# who can run it


async def test_with_no_worker_up_it_is_held_and_runs_when_one_comes(state: str, scripted_worker: Scripted) -> None:
    async with farm(state) as gateway:
        client = gateway.client()
        id = await client.submit(picture())
        assert await client.queue() == ([], [id])
        added = await client.send("/gateway/workers", {"url": scripted_worker.url, "name": "late"})
        assert added.status == 201
        await scripted_worker.runs()
        assert scripted_worker.prompts() == [id]


async def test_a_prompt_goes_only_where_its_model_is(state: str) -> None:
    machines = [EmulatorSettings(models=("a.safetensors",)), EmulatorSettings(models=("b.safetensors",))]
    async with emulated(*machines) as workers, farm(state, *workers) as gateway:
        client = gateway.client()
        ids = {model: await asyncio.gather(*(client.submit(with_model(model)) for _ in range(4)))
               for model in ("a.safetensors", "b.safetensors")}  # fmt: skip
        for model, worker in zip(ids, workers, strict=True):
            for id in ids[model]:
                record = await client.ended(id)
                assert record["status"]["completed"]
                assert (await client.job(id))["worker"] == f"w{workers.index(worker)}"
                assert (await client.job(id))["attempts"] == 1


async def test_a_model_that_nobody_has_is_refused_in_the_workers_own_words(state: str) -> None:
    async with emulated(OLD) as workers, farm(state, *workers) as gateway:
        client = gateway.client()
        graph = with_model("nowhere.safetensors")
        direct = await client.ask("POST", "/gateway/workers/w0/prompt", json={"prompt": graph})
        answer = await client.post(graph)
        assert direct.status == 400
        assert (answer.status, answer.body) == (400, direct.body)
        assert workers[0].worker.queue.remaining() == 0


async def test_a_model_file_that_appeared_since_counts_at_once(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker, catalogue_every=3600) as gateway:
        client, graph = gateway.client(), with_model("new.safetensors")
        nodes = json.loads(json.dumps(scripted_worker.nodes))
        nodes["ProbeModel"]["input"]["required"]["model"][0].append("new.safetensors")
        scripted_worker.nodes = nodes
        id = await client.submit(graph)
        await scripted_worker.runs()
        assert scripted_worker.prompts() == [id]
        assert scripted_worker.requests["GET /object_info"] == 2


async def test_what_only_absent_workers_can_run_is_held_for_them_for_a_while(
    state: str, scripted_worker: Scripted, second_worker: Scripted
) -> None:
    special = with_model("a.safetensors")
    del second_worker.nodes["ProbeModel"]
    second_worker.manners.append(refuses())
    async with farm(state, scripted_worker, second_worker, worker_grace=1.0) as gateway:
        client = gateway.client()
        await scripted_worker.down()
        await gateway.sees(w0="down", w1="up")
        held = await client.submit(special)
        assert await client.state(held) == "queued"
        assert second_worker.requests["POST /prompt"] == 0

        async def refused() -> bool:
            answer = await client.post(special)
            return answer.status == 400 and answer.body == NO

        await until(refused, "the grace is over")
        await scripted_worker.up()
        await scripted_worker.runs()
        assert held in scripted_worker.prompts()


async def test_a_doubtful_prompt_is_put_to_a_busy_worker_and_runs_once(state: str, scripted_worker: Scripted) -> None:
    """The lists do not have its model, but the worker takes it, as one with a validator of its own may."""
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        await client.submit(sleeping())
        id = await client.submit(with_model("nowhere.safetensors"))
        assert await client.state(id) == "queued"
        asked = scripted_worker.received[-1]["prompt_id"]
        assert asked in scripted_worker.deleted
        assert list(scripted_worker.pending) == []
        scripted_worker.finish()


async def test_a_doubtful_prompt_that_a_busy_worker_refuses_is_refused(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        running = await client.submit(sleeping())
        scripted_worker.manners.append(refuses())
        answer = await client.post(with_model("nowhere.safetensors"))
        assert (answer.status, answer.body) == (400, NO)
        assert await client.queue() == ([running], [])


async def test_what_a_free_worker_refuses_waits_for_a_busy_one_that_takes_it(
    state: str, scripted_worker: Scripted, second_worker: Scripted
) -> None:
    async with farm(state, scripted_worker, second_worker) as gateway:
        client = gateway.client()
        first = await client.submit(sleeping())
        busy, free = (scripted_worker, second_worker) if scripted_worker.running else (second_worker, scripted_worker)
        free.manners = [refuses()] * 5
        id = await client.submit(picture())
        assert await client.state(id) == "queued"
        busy.finish()
        await busy.runs(2)
        assert busy.prompts() == [first, id]
        assert len(free.started) == 0
        busy.finish()
        await client.ended(id)


async def test_of_two_free_workers_the_one_that_takes_it_counts(
    state: str, scripted_worker: Scripted, second_worker: Scripted
) -> None:
    scripted_worker.vram *= 2  # so that it is asked first
    scripted_worker.manners = [refuses()]
    async with farm(state, scripted_worker, second_worker) as gateway:
        id = await gateway.client().submit(picture())
        assert scripted_worker.requests["POST /prompt"] == 1
        assert second_worker.prompts() == [id]


async def test_when_all_refuse_the_first_is_heard(
    state: str, scripted_worker: Scripted, second_worker: Scripted
) -> None:
    scripted_worker.vram *= 2
    scripted_worker.manners = [refuses()]
    second_worker.manners = [refuses(b"{}")]
    async with farm(state, scripted_worker, second_worker) as gateway:
        answer = await gateway.client().post(picture())
        assert (answer.status, answer.body) == (400, NO)


# answers that are lost


@pytest.mark.parametrize("manner", [resets_unread, loses, resets_after])
async def test_a_lost_answer_makes_no_second_run(state: str, scripted_worker: Scripted, manner: Any) -> None:
    scripted_worker.manners.append(manner)
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        id = await client.submit(picture())
        await scripted_worker.runs()
        scripted_worker.finish()
        record = await client.ended(id)
        assert record["status"]["completed"]
        assert scripted_worker.prompts() == [id]
        assert list(await client.get("/history")) == [id]


async def test_a_worker_that_dies_during_the_post_is_charged_to_the_prompt(
    state: str, scripted_worker: Scripted
) -> None:
    async def dies(worker: Scripted, request: Any) -> Any:
        await request.read()
        await worker.down()
        raise ConnectionResetError

    scripted_worker.manners.append(dies)
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        id = await client.submit(picture())
        assert (await client.job(id))["crashes"] == 1
        await scripted_worker.up()
        await scripted_worker.runs()
        scripted_worker.finish()
        assert (await client.ended(id))["status"]["completed"]


async def test_a_free_worker_that_refuses_connections_costs_nothing(
    state: str, scripted_worker: Scripted, second_worker: Scripted
) -> None:
    async with farm(state, scripted_worker, second_worker, poll_every=3600) as gateway:
        client = gateway.client()
        await scripted_worker.down()
        ids = [await client.submit(picture())]
        await second_worker.runs()
        assert second_worker.prompts() == ids
        assert (await client.job(ids[0]))["crashes"] == 0


async def test_all_accepted_keys_reach_the_worker(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker) as gateway:
        client = gateway.client()
        extra = {"extra_pnginfo": {"workflow": {"id": "w"}}, "big": 2**70}
        await client.submit(picture(), extra_data=extra, partial_execution_targets=["3"], custom={"a": [1]})
        (body,) = scripted_worker.received
        assert body["partial_execution_targets"] == ["3"]
        assert body["custom"] == {"a": [1]}
        assert {key: body["extra_data"][key] for key in extra} == extra
        assert body["client_id"] != client.client_id
