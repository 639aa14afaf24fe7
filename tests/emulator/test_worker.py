"""What else a real worker does: it dies, wedges, forgets models, talks to everybody, and enqueues prompts itself."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import aiohttp
import pytest

from gateway.emulator.serve import Running
from tests.conformance.client import Client, failing, files, picture, sleeping
from tests.emulator.conftest import Start
from tests.emulator.replay import Replay, until

pytestmark = pytest.mark.anyio

GIB = 1024**3


async def gone(client: Client) -> bool:
    try:
        await client.get("/prompt")
    except aiohttp.ClientError:
        return True
    return False


async def test_a_probe_takes_the_process_down(start: Start) -> None:
    async with start() as (worker, client):
        await client.submit(failing("exit"))
        assert await worker.died() == 137
        assert await gone(client)


@pytest.mark.parametrize("client_id", [{}, []])
async def test_a_client_id_that_cannot_be_looked_up_takes_the_process_down(start: Start, client_id: Any) -> None:
    async with start() as (worker, client):
        assert (await client.post("/prompt", {"prompt": picture(), "client_id": client_id})).status == 200
        assert await worker.died() == 1
        assert await gone(client)


WEDGING: dict[str, dict[str, Any]] = {
    "no extra_data": {"prompt": picture(), "extra_data": None},
    "a node that is not needed has no inputs": {"prompt": {**picture(), "9": {"class_type": "EmptyImage"}}},
}


@pytest.mark.parametrize("poison", WEDGING)
async def test_a_poisoned_prompt_runs_for_ever_and_nothing_after_it(start: Start, poison: str) -> None:
    async with start() as (_, client):
        answer = await client.post("/prompt", WEDGING[poison])
        assert answer.status == 200
        await client.running(answer.json["prompt_id"])
        following = await client.submit(picture())
        await client.post("/interrupt")
        assert await client.queue() == ([answer.json["prompt_id"]], [following])


async def test_the_newer_generation_refuses_no_extra_data(start: Start) -> None:
    async with start(comfyui="0.38.1") as (_, client):
        assert (await client.post("/prompt", {"prompt": picture(), "extra_data": None})).status == 500
        assert (await client.run(picture()))["status"]["completed"] is True


async def test_the_same_number_and_id_again_is_a_500_that_runs_all_the_same(start: Start) -> None:
    async with start() as (worker, client):
        async with client.busy():
            for status in (200, 500):
                twin = {"prompt": picture("twin"), "prompt_id": "twin", "number": 9}
                assert (await client.post("/prompt", twin)).status == status
            assert (await client.queue())[1] == ["twin", "twin"]
        await until(lambda: worker.worker.queue.remaining() == 0)


def with_model(name: str) -> dict[str, Any]:
    graph = picture()
    graph["1"] = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": name}}
    graph["2"] = {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}}
    graph["4"] = {"class_type": "VAEDecode", "inputs": {"samples": ["2", 0], "vae": ["1", 2]}}
    graph["3"]["inputs"]["images"] = ["4", 0]
    return graph


async def vram_free(client: Client) -> int:
    free: int = (await client.get("/system_stats")).json["devices"][0]["vram_free"]
    return free


async def test_models_fill_the_vram_and_the_oldest_makes_room(start: Start) -> None:
    names = ("a.safetensors", "b.safetensors")
    async with start(models=names, vram_gib=8, speed=50) as (worker, client):
        assert await vram_free(client) == 8 * GIB
        for name in names:
            await client.run(with_model(name))
            assert worker.worker.vram.loaded == (name,)
        assert await vram_free(client) < 2 * GIB
        await client.post("/free", {"unload_models": True})
        await until(lambda: worker.worker.vram.used == 0)


async def test_a_model_that_cannot_fit_is_out_of_memory(start: Start) -> None:
    async with start(models=("a.safetensors",), vram_gib=4, speed=50) as (_, client):
        event, error = (await client.run(with_model("a.safetensors")))["status"]["messages"][-1]
        assert (event, error["exception_type"]) == ("execution_error", "torch.OutOfMemoryError")


async def test_running_out_of_memory_unloads_all(start: Start) -> None:
    async with start(models=("a.safetensors",), speed=50) as (worker, client):
        await client.run(with_model("a.safetensors"))
        assert worker.worker.vram.used > 0
        await client.run(failing("oom"))
        assert worker.worker.vram.used == 0


async def test_models_are_listed_where_they_belong(start: Start) -> None:
    async with start(models=("any.safetensors", "loras/fine.safetensors")) as (_, client):
        assert (await client.get("/models/checkpoints")).json == ["any.safetensors"]
        assert (await client.get("/models/loras")).json == ["any.safetensors", "fine.safetensors"]
        probe = (await client.get("/object_info/ProbeModel")).json["ProbeModel"]
        assert probe["input"]["required"]["model"][0] == ["any.safetensors", "fine.safetensors"]


async def test_a_class_that_is_not_installed(start: Start) -> None:
    async with start(lacks=("ProbeSleep",)) as (_, client):
        assert (await client.get("/object_info/ProbeSleep")).json == {}
        assert (await client.post("/prompt", {"prompt": sleeping(0.1)})).json["error"]["type"] == "invalid_prompt"


async def test_a_node_enqueues_prompts_of_the_same_owner(start: Start) -> None:
    graph = {"1": {"class_type": "ProbeRequeue", "inputs": {"times": 2}}}
    async with start() as (_, client):
        await client.submit(graph, extra_data={"mine": 1})
        async with asyncio.timeout(10):
            while len(records := (await client.get("/history")).json) < 3:
                await asyncio.sleep(0.01)
        assert [record["outputs"]["1"]["times"] for record in records.values()] == [[2], [1], [0]]
        owners = {json.dumps(record["prompt"][3]) for record in records.values()}
        assert owners == {json.dumps({"mine": 1, "client_id": client.client_id})}


async def test_an_on_prompt_handler_speaks_to_everybody(start: Start) -> None:
    async with start(on_prompt_event=True) as (worker, client), Replay(worker, []) as sockets:
        bystander = await sockets.connect("bystander", "?clientId=bystander")
        await client.post("/prompt", {"prompt": {}})
        await bystander.count("probe-on-prompt", 1)


async def test_a_prompt_without_an_owner_shows_its_progress_to_everybody(start: Start) -> None:
    async with start() as (worker, client), Replay(worker, []) as sockets:
        bystander = await sockets.connect("bystander", "?clientId=bystander")
        graph = sleeping(0.1)
        graph["2"]["inputs"]["preview"] = True
        answer = await client.post("/prompt", {"prompt": graph})
        await client.finished(answer.json["prompt_id"])
        await bystander.count("progress", 1)
        await bystander.count_binary(1)
        events = [json.loads(frame)["type"] for frame in bystander.seen if isinstance(frame, str)]
        assert set(events) == {"status", "progress_state", "progress"}


async def test_secrets_are_seen_in_the_queue_of_the_older_generation_only(start: Start) -> None:
    for comfyui, seen in (("0.3.64", True), ("0.38.1", False)):
        async with start(comfyui=comfyui) as (_, client), client.busy():
            await client.submit(picture(), extra_data={"api_key_comfy_org": "s3cret"})
            assert ("s3cret" in (await client.get("/queue")).text) is seen


async def test_bodies_have_a_limit(start: Start) -> None:
    async with start(max_upload_mib=1) as (_, client):
        answer = await client.ask("POST", "/prompt", data=io.BytesIO(b" " * (1024 * 1024 + 1)))
        assert (answer.status, answer.text) == (413, "Maximum request body size 1048576 exceeded.")


async def test_files_outlive_the_worker_but_for_temp(start: Start) -> None:
    async with start() as (worker, client):
        [file] = files(await client.run(picture()))
        await client.run(sleeping(0.1))
        assert worker.worker.folders.listing("temp")
    async with start() as (worker, client):
        assert (await client.get("/view", **file)).status == 200
        assert worker.worker.folders.listing("temp") == []
        assert files(await client.run(picture()))[0]["filename"] == "conformance_00002_.png"


async def test_speed_divides_all_durations(start: Start) -> None:
    async with start(speed=100) as (_, client):
        loop = asyncio.get_running_loop()
        began = loop.time()
        await client.run(sleeping(20))
        assert loop.time() - began < 5


async def test_sixteen_workers_share_a_process(start: Start, tmp_path: Any) -> None:
    async def one(number: int) -> Running:
        async with start(directory=tmp_path / str(number), name=f"w{number}") as (worker, client):
            [file] = files(await client.run(picture(color=number)))
            assert file["filename"] == "conformance_00001_.png"
            assert worker.worker.number == 1
            return worker

    workers = await asyncio.gather(*(one(number) for number in range(16)))
    assert len({worker.url for worker in workers}) == 16
