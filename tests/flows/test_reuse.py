from __future__ import annotations

import json
from pathlib import Path

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
