from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.uploading import a_color, load, png, running_farm, shown, upload, workers_of

pytestmark = pytest.mark.anyio


async def test_an_output_is_an_input_of_a_prompt_on_another_worker(state: str, tmp_path: Path) -> None:
    """Under its farm-wide name, which is what the prompt says; the worker that wrote it is no exception."""
    (tmp_path / "w1/output/sub").mkdir(parents=True)
    color = a_color()
    (tmp_path / "w1/output/sub/made_00001_.png").write_bytes(png(color))
    async with running_farm(state, tmp_path) as (whole, _):
        client = whole.client()
        ids = [await client.submit(load("sub/made_00001_~w1.png [output]", seconds=0.3)) for _ in range(4)]
        assert [await shown(client, id) for id in ids] == [color] * 4
        assert await workers_of(client, ids) == {"w0", "w1"}
        gone = await client.post(load("sub/made_00002_~w1.png [output]"))
        assert gone.status == 400


async def test_on_a_disk_that_all_share_nothing_is_sent(state: str, tmp_path: Path) -> None:
    color = a_color()
    (tmp_path / "output").mkdir()
    (tmp_path / "output/made_00001_.png").write_bytes(png(color))
    for name in ("w0", "w1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "output").symlink_to(tmp_path / "output")
    async with running_farm(state, tmp_path, outputs="shared") as (whole, _):
        client = whole.client()
        ids = [await client.submit(load("made_00001_.png [output]", seconds=0.3)) for _ in range(3)]
        assert [await shown(client, id) for id in ids] == [color] * 3
        ref = json.dumps({"filename": "made_00001_.png"})
        told = await upload(client, "m.png", png((0, 0, 0)), "/upload/mask", original_ref=ref)
        assert told.json["name"] == "m.png"
        assert "comfygw_staging_seconds_count 0.0" in (await client.ask("GET", "/metrics")).body.decode()
        assert [path.name for path in (tmp_path / "output").iterdir() if path.suffix == ".png"] == ["made_00001_.png"]


async def test_an_output_of_a_worker_that_is_away_is_no_input(state: str, tmp_path: Path) -> None:
    (tmp_path / "w1/output").mkdir(parents=True)
    (tmp_path / "w1/output/made_00001_.png").write_bytes(png(a_color()))
    async with running_farm(state, tmp_path) as (whole, workers):
        client = whole.client()
        assert (await client.ask("GET", "/view", params={"filename": "made_00001_~w1.png"})).status == 200
        workers[1].worker.settings.die(1)
        await whole.sees(w1="down")
        refused = await client.post(load("made_00001_~w1.png [output]"))
        assert refused.status == 400
        assert refused.json["node_errors"]["1"]["errors"][0]["type"] == "custom_validation_failed"


async def test_a_kept_output_is_an_input_though_its_worker_left_the_farm(state: str, tmp_path: Path) -> None:
    keeping: dict[str, Any] = {"keep_outputs": True, "blobs": (tmp_path / "blobs").as_uri()}
    async with running_farm(state, tmp_path, **keeping) as (whole, workers):
        client = whole.client()
        graph = {
            "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0x123456}},
            "3": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "made"}},
        }
        record = await client.ended(await client.submit(graph))
        [file] = record["outputs"]["3"]["images"]
        wrote = file["filename"].removesuffix(".png").rpartition("~")[2]
        workers[int(wrote[1:])].worker.die(1)
        await (whole.sees(w0="down") if wrote == "w0" else whole.sees(w1="down"))
        name = f"{file['filename']} [output]"
        assert await shown(client, await client.submit(load(name))) == (0x12, 0x34, 0x56)
        assert (await client.ask("DELETE", f"/gateway/workers/{wrote}")).status == 204
        assert await shown(client, await client.submit(load(name, seconds=0.1))) == (0x12, 0x34, 0x56)
