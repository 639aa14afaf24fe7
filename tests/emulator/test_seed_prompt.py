"""The example of the interface document runs from POST to picture, with the models that it names."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image

from tests.conformance.client import Client, files
from tests.emulator.conftest import Start

pytestmark = pytest.mark.anyio

SEED: dict[str, Any] = json.loads((Path(__file__).parent.parent / "seed_prompt.json").read_text())
MODELS = ("sd_xl_base_1.0.safetensors", "clip_vision_g.safetensors", "control-lora-depth-rank256.safetensors")
INPUTS = (("clipspace", "clipspace-mask-1645940.7000000002.png"), ("", "beijing1 (2).webp"))


async def upload(client: Client, subfolder: str, name: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), (90, 30, 10)).save(buffer, format="WEBP" if name.endswith("webp") else "PNG")
    form = aiohttp.FormData({"subfolder": subfolder}, quote_fields=False)
    form.add_field("image", buffer.getvalue(), filename=name)
    assert (await client.ask("POST", "/upload/image", data=form)).status == 200


@pytest.mark.parametrize("comfyui", ["0.3.64", "0.38.1"])
async def test_it_gives_a_picture_that_depends_on_the_seed(start: Start, comfyui: str) -> None:
    async with start(models=MODELS, speed=20, comfyui=comfyui) as (worker, client):
        for subfolder, name in INPUTS:
            await upload(client, subfolder, name)
        answer = await client.post("/prompt", SEED)
        assert (answer.status, answer.json["node_errors"]) == (200, {})
        record = await client.finished(answer.json["prompt_id"])
        assert record["status"]["status_str"] == "success"
        assert set(record["outputs"]) == {"9", "45", "48"}
        first = await picture(client, record)
        assert first.size == (1024, 768)
        assert worker.worker.vram.loaded[-1] == MODELS[0]

        changed = json.loads(json.dumps(SEED["prompt"]))
        changed["3"]["inputs"]["seed"] += 1
        second = await client.run(changed)
        assert set(second["status"]["messages"][1][1]["nodes"]) == set(SEED["prompt"]) - {"3", "8", "9", "43"}
        assert (await picture(client, second)).tobytes() != first.tobytes()


async def picture(client: Client, record: dict[str, Any]) -> Image.Image:
    [file] = [file for file in files(record) if file["type"] == "output"]
    return Image.open(io.BytesIO((await client.get("/view", **file)).body))


async def test_a_worker_without_its_models_refuses_it(start: Start) -> None:
    async with start() as (_, client):
        for subfolder, name in INPUTS:
            await upload(client, subfolder, name)
        answer = await client.post("/prompt", SEED)
        assert answer.status == 200  # the two previews can be made
        assert {"39", "40", "46"} <= set(answer.json["node_errors"])
