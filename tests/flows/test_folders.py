"""The folders of all workers, listed as one."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.emulator.settings import EmulatorSettings
from gateway.flows.folders import merged
from tests.farm import Client, emulated, farm
from tests.scripted import Scripted
from tests.uploading import a_color, load, png, running_farm, shown, upload

pytestmark = pytest.mark.anyio


def test_files_of_known_age_order_the_others() -> None:
    a = [("a3", ""), ("a2", ""), ("a1", "")]
    b = [("b2", " [output]"), ("b1", "")]
    assert merged([a, b], {"a1": 1.0, "b1": 2.0, "a3": 3.0, "b2": 4.0}) == ["b2 [output]", "a3", "b1", "a2", "a1"]
    assert merged([a, b], {}) == ["a3", "a2", "a1", "b2 [output]", "b1"]
    assert merged([a, b], {"a1": 5.0, "a3": 1.0}) == ["a3", "a2", "a1", "b2 [output]", "b1"], "a clock may lie"
    assert merged([], {}) == []


def graph(prefix: str, color: int = 1) -> dict[str, object]:
    picture = {"width": 8, "height": 8, "batch_size": 1, "color": color}
    return {
        "1": {"class_type": "EmptyImage", "inputs": picture},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": prefix}},
    }


async def saved(client: Client, prefix: str) -> str:
    record = await client.ended(await client.submit(graph(prefix)))
    return str(record["outputs"]["3"]["images"][0]["filename"])


@pytest.mark.parametrize("version", ["0.3.64", "0.38.1"])
async def test_outputs_are_listed_by_the_farms_names_newest_first(state: str, tmp_path: Path, version: str) -> None:
    folders = [tmp_path / name / "output" for name in ("a", "b")]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "before.png").write_bytes(b"")
        (folder / "copied~w0.png").write_bytes(b"")
    settings = [EmulatorSettings(directory=folder.parent, comfyui=version) for folder in folders]
    mark = "" if version == "0.3.64" else " [output]"
    async with emulated(*settings) as workers, farm(state, *workers) as whole:
        client = whole.client()
        names = [await saved(client, prefix) for prefix in ("one", "two", "three")]
        await saved(client, "sub/four")
        listed = await client.get("/internal/files/output")
        assert listed[:3] == [name + mark for name in reversed(names)]
        assert sorted(listed[3:]) == [f"before~w0.png{mark}", f"before~w1.png{mark}"]
        assert await client.get("/internal/files/temp") == []


async def test_with_one_disk_its_files_are_listed_once(state: str, tmp_path: Path) -> None:
    settings = [EmulatorSettings(directory=tmp_path)] * 2
    async with emulated(*settings) as workers, farm(state, *workers, outputs="shared") as whole:
        client = whole.client()
        assert await saved(client, "one") == "one_00001_.png"
        assert await client.get("/internal/files/output") == ["one_00001_.png"]


async def test_a_worker_that_tells_nothing_is_left_out(state: str, tmp_path: Path, scripted_worker: Scripted) -> None:
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "x.png").write_bytes(b"")
    async with (
        emulated(EmulatorSettings(directory=tmp_path)) as workers,
        farm(state, *workers, scripted_worker) as whole,
    ):
        assert await whole.client().get("/internal/files/output") == ["x~w0.png"]
        await scripted_worker.down()
        await whole.sees(w1="down")
        assert await whole.client().get("/internal/files/output") == ["x~w0.png"]


async def test_nobody_tells_anything(state: str, scripted_worker: Scripted) -> None:
    async with farm(state, scripted_worker) as whole:
        await scripted_worker.down()
        await whole.sees(w0="down")
        answer = await whole.client().ask("GET", "/internal/files/output")
        assert (answer.status, answer.json["error"]["type"]) == (503, "no_worker")


async def test_uploads_of_these_types_are_there_before_any_worker_has_them(state: str, tmp_path: Path) -> None:
    async with running_farm(state, tmp_path, 1, replicas=2) as (whole, _):
        here, there = whole.client(), whole.client(at=1)
        name = await saved(here, "made")
        for type in ("output", "temp"):
            data = png(a_color())
            await upload(here, "up.png", data, type=type)
            assert await there.get(f"/internal/files/{type}") == ["up.png", name][: 2 if type == "output" else 1]
            seen = await there.ask("GET", "/view", params={"filename": "up.png", "type": type})
            assert (seen.status, seen.body) == (200, data)
        assert not [*(tmp_path / "w0").rglob("up.png")]
        await shown(there, await there.submit(load("up.png [output]")))
        assert [*(tmp_path / "w0").rglob("up.png")], "now its worker has it as well"
        assert await there.get("/internal/files/output") == ["up.png", name]
