"""Pictures that are told by their colour: uploaded, put through prompts, and looked at."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from PIL import Image

from gateway.emulator.serve import Running
from gateway.emulator.settings import EmulatorSettings
from tests.farm import Answer, Client, Farm, Graph, emulated, farm, unique
from tests.servers import until

Color = tuple[int, int, int]


def png(color: Color) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), color).save(buffer, format="PNG")
    return buffer.getvalue()


def a_color() -> Color:
    number = unique() % 2**24
    return (number >> 16, number >> 8 & 255, number & 255)


async def upload(client: Client, name: str, data: bytes, path: str = "/upload/image", **fields: str) -> Answer:
    form = aiohttp.FormData(fields, quote_fields=False)
    form.add_field("image", data, filename=name, content_type="image/png")
    return await client.ask("POST", path, data=form)


def load(name: str, *, seconds: float = 0.0) -> Graph:
    """Inverts the picture, so that what comes out was made of it; with `seconds`, it takes that long before."""
    graph: Graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": name}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "3": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}},
    }
    if seconds:
        inputs = {
            "image": ["1", 0],
            "seconds": seconds,
            "steps": round(seconds * 20),
            "seed": unique(),
            "preview": False,
        }
        graph["4"] = {"class_type": "ProbeSleep", "inputs": inputs}
        graph["2"]["inputs"]["image"] = ["4", 0]
    return graph


async def shown(client: Client, id: str) -> Color:
    """The picture that the prompt read."""
    record = await client.ended(id)
    assert record["status"]["status_str"] == "success", record["status"]
    [file] = record["outputs"]["3"]["images"]
    seen = await client.ask("GET", "/view", params={key: file[key] for key in ("filename", "subfolder", "type")})
    pixel: Any = Image.open(io.BytesIO(seen.body)).getpixel((0, 0))
    return (255 - pixel[0], 255 - pixel[1], 255 - pixel[2])


async def workers_of(client: Client, ids: list[str]) -> set[str]:
    return {(await client.job(id))["worker"] for id in ids}


@asynccontextmanager
async def running_farm(
    state: str, folder: Path, count: int = 2, replicas: int = 1, **settings: Any
) -> AsyncIterator[tuple[Farm, list[Running]]]:
    disks = [EmulatorSettings(directory=folder / f"w{n}") for n in range(count)]
    async with emulated(*disks) as workers, farm(state, *workers, replicas=replicas, **settings) as whole:
        yield whole, workers


def copies(folder: Path, name: str) -> list[Path]:
    return sorted(folder.glob(f"w*/{name}"))


async def drains(whole: Farm, name: str) -> None:
    """Take no more prompts there, and wait until that is seen."""
    await whole.client().send(f"/gateway/workers/{name}/drain")

    async def seen() -> bool:
        return bool((await whole.workers())[name]["draining"])

    await until(seen, f"{name} drains")
