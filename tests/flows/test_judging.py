from __future__ import annotations

from pathlib import Path

import pytest

from tests.uploading import a_color, load, png, running_farm, upload

pytestmark = pytest.mark.anyio


async def test_a_file_that_nobody_has_is_the_workers_own_error(state: str, tmp_path: Path) -> None:
    async with running_farm(state, tmp_path) as (whole, _):
        answer = await whole.client().post(load("gone.png"))
        assert answer.status == 400
        [reason] = answer.json["node_errors"]["1"]["errors"]
        assert (reason["type"], reason["details"]) == (
            "custom_validation_failed",
            "image - Invalid image file: gone.png",
        )


async def test_while_all_are_busy_the_farms_files_are_known(state: str, tmp_path: Path) -> None:
    """A good one waits without a worker being asked; of one that nobody has, the worker's own word is the answer."""
    async with running_farm(state, tmp_path, 1) as (whole, _workers):
        client = whole.client()
        await upload(client, "x.png", png(a_color()))
        busy = await client.submit(load("x.png", seconds=20))
        await client.runs(busy)
        waits = await client.submit(load("x.png"))
        assert await client.state(waits) == "queued"
        assert (await client.post(load("gone.png"))).status == 400
        assert await client.queue() == ([busy], [waits])
        await client.send("/interrupt", {"prompt_id": busy})
        assert (await client.ended(waits))["status"]["status_str"] == "success"
