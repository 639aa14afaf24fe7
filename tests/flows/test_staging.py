"""Files on their way to the workers that run the prompts which name them."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from tests.farm import sleeping
from tests.s3 import running as s3_again
from tests.s3 import s3_server
from tests.uploading import a_color, copies, drains, load, png, running_farm, shown, upload, workers_of

pytestmark = pytest.mark.anyio


async def test_one_upload_serves_eight_prompts_on_four_workers(state: str, tmp_path: Path) -> None:
    color = a_color()
    async with running_farm(state, tmp_path, 4) as (whole, _):
        client = whole.client()
        await upload(client, "x.png", png(color), subfolder="sub")
        ids = [await client.submit(load("sub/x.png", seconds=0.3)) for _ in range(8)]
        assert [await shown(client, id) for id in ids] == [color] * 8
        assert len(await workers_of(client, ids)) == 4
        assert len(copies(tmp_path, "input/sub/x.png")) == 4


async def test_only_the_worker_that_runs_it_is_sent_the_file_and_only_once(state: str, tmp_path: Path) -> None:
    async with running_farm(state, tmp_path) as (whole, _):
        client = whole.client()
        await upload(client, "x.png", png(a_color()))
        await client.ended(await client.submit(load("x.png")))
        [copy] = copies(tmp_path, "input/x.png")
        written = copy.stat().st_mtime_ns
        worker = copy.parts[-3]
        other = {"w0": "w1", "w1": "w0"}[worker]
        await drains(whole, other)
        for _ in range(2):
            await client.ended(await client.submit(load("x.png [input]")))
        assert [one.stat().st_mtime_ns for one in copies(tmp_path, "input/x.png")] == [written]


async def test_a_file_written_anew_is_sent_anew(state: str, tmp_path: Path) -> None:
    async with running_farm(state, tmp_path, 1) as (whole, _):
        client = whole.client()
        for _ in range(2):
            color = a_color()
            await upload(client, "x.png", png(color), overwrite="true")
            assert await shown(client, await client.submit(load("x.png"))) == color


@pytest.mark.parametrize("how", ["lost", "other"])
async def test_a_disk_that_lost_or_changed_the_file_is_found_out(state: str, tmp_path: Path, how: str) -> None:
    color = a_color()
    async with running_farm(state, tmp_path, 1) as (whole, _):
        client = whole.client()
        await upload(client, "x.png", png(color))
        assert await shown(client, await client.submit(load("x.png"))) == color
        [copy] = copies(tmp_path, "input/x.png")
        copy.unlink()
        if how == "other":
            copy.write_bytes(png(a_color()))
        assert await shown(client, await client.submit(load("x.png"))) == color


async def test_several_prompts_at_once_share_one_sending(state: str, tmp_path: Path) -> None:
    async with running_farm(state, tmp_path, 1) as (whole, _workers):
        client = whole.client()
        data = png(a_color())
        await upload(client, "x.png", data)
        ids = await asyncio.gather(*(client.submit(load("x.png")) for _ in range(6)))
        for id in ids:
            assert (await client.ended(id))["status"]["status_str"] == "success"
        metrics = (await client.ask("GET", "/metrics")).body.decode()
        assert "comfygw_staging_seconds_count 1.0" in metrics
        sent = float(metrics.partition("\ncomfygw_staged_bytes_total ")[2].split()[0])
        assert sent == len(data)


async def test_a_worker_whose_disk_is_full_passes_the_prompt_on(state: str, tmp_path: Path) -> None:
    color = a_color()
    async with running_farm(state, tmp_path) as (whole, _):
        client = whole.client()
        await upload(client, "x.png", png(color), subfolder="sub")
        (tmp_path / "w0/input/sub").write_bytes(b"in the way of the folder")
        ids = [await client.submit(load("sub/x.png")) for _ in range(3)]
        assert [await shown(client, id) for id in ids] == [color] * 3
        assert await workers_of(client, ids) == {"w1"}
        assert (
            'comfygw_staging_failures_total{reason="refused"} ' in (await client.ask("GET", "/metrics")).body.decode()
        )


async def test_when_no_worker_can_take_the_file_its_words_are_told(state: str, tmp_path: Path) -> None:
    (tmp_path / "w0/input").mkdir(parents=True)
    (tmp_path / "w0/input/sub").write_bytes(b"in the way of the folder")
    async with running_farm(state, tmp_path, 1) as (whole, _):
        client = whole.client()
        await upload(client, "x.png", png(a_color()), subfolder="sub")
        refused = await client.post(load("sub/x.png"))
        assert (refused.status, refused.json["error"]["type"]) == (502, "input_not_taken")


async def test_while_the_blobs_are_away_prompts_with_files_wait(
    state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new one is told to come again; what was taken in already waits until they are back."""
    color = a_color()
    with contextlib.ExitStack() as up:
        server = up.enter_context(s3_server())
        server.let_in(monkeypatch)
        async with running_farm(state, tmp_path, 1, blobs=server.bucket("farm")) as (whole, _):
            client = whole.client()
            await upload(client, "x.png", png(color))
            busy = await client.submit(sleeping())
            await client.runs(busy)
            waits = await client.submit(load("x.png"))
            up.close()
            await client.send("/interrupt", {"prompt_id": busy})
            await client.ended(busy)
            refused = await upload(client, "y.png", png(color))
            assert (refused.status, refused.json["error"]["type"]) == (503, "blobs_unavailable")
            assert refused.headers["Retry-After"]
            with s3_again(int(server.url.rpartition(":")[2])):
                assert await shown(client, waits) == color
