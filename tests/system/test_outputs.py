"""64 prompts at once, over four workers that all write the same names: each gets its own picture."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import aiohttp
import pytest
from PIL import Image

from tests.servers import StateServer, until
from tests.system.processes import SLOW, Farm, all_up
from tests.system.prompts import Prompt

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(SLOW)]

WORKERS = ("gpu-0", "gpu-1", "10.0.0.2", "10.0.0.2-8188")
PREFIX = "ComfyUI"


async def test_each_of_64_prompts_gets_its_own_picture_also_by_filename_alone(
    farm: Farm, durable: StateServer, http: aiohttp.ClientSession
) -> None:
    workers = [farm.worker(name, "--models", "a.safetensors") for name in WORKERS]
    await asyncio.gather(*(worker.start() for worker in workers))
    gateways = [farm.gateway(name, workers, state=durable.url) for name in ("one", "two")]
    await asyncio.gather(*(gateway.start() for gateway in gateways))
    urls = [gateway.url for gateway in gateways]

    async def get(path: str, **query: str) -> Any:
        async with http.get(urls[0] + path, params=query) as reply:
            return await reply.json()

    await all_up(http, gateways[0])
    prompts = [Prompt(number, prefix=PREFIX) for number in range(64)]

    async def post(prompt: Prompt) -> None:
        async with http.post(f"{urls[prompt.number % 2]}/prompt", json=prompt.body()) as reply:
            assert reply.status == 200, await reply.text()

    async def file_of(prompt: Prompt) -> dict[str, str]:
        async def ended() -> Any:
            return (await get(f"/history/{prompt.id}")).get(prompt.id)

        record = await until(ended, f"{prompt.number} ends", timeout=90)
        [file] = record["outputs"]["4"]["images"]
        return dict(file)

    async def color(at: str, **query: str) -> Any:
        async with http.get(f"{at}/view", params=query) as reply:
            assert reply.status == 200, query
            return Image.open(io.BytesIO(await reply.read())).convert("RGB").getpixel((0, 0))

    await asyncio.gather(*(post(prompt) for prompt in prompts))
    files = await asyncio.gather(*(file_of(prompt) for prompt in prompts))
    assert len({file["filename"] for file in files}) == len(files)
    on_disks = {path.name for path in farm.folder.glob(f"disk-*/output/{PREFIX}_*")}
    assert len(on_disks) < len(files), "workers wrote the same names"
    assert f"{PREFIX}_00001_.png" in on_disks
    wanted = [prompt.color for prompt in prompts]
    assert await asyncio.gather(*(color(urls[0], **file) for file in files)) == wanted
    assert await asyncio.gather(*(color(urls[1], filename=file["filename"]) for file in files)) == wanted
