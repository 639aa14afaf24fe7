from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from tests.uploading import copies, load, png, running_farm, shown, upload

pytestmark = pytest.mark.anyio


async def test_a_mask_is_laid_over_an_output_of_any_worker(state: str, tmp_path: Path) -> None:
    (tmp_path / "w1/output").mkdir(parents=True)
    (tmp_path / "w1/output/made_00001_.png").write_bytes(png((10, 20, 30)))
    buffer = io.BytesIO()
    Image.new("RGBA", (8, 8), (0, 0, 0, 77)).save(buffer, format="PNG")
    async with running_farm(state, tmp_path) as (whole, _):
        client = whole.client()
        for name in ("made_00001_~w1.png", "made_00001_~w1.png [output]"):
            ref = json.dumps({"filename": name})
            told = await upload(client, "m.png", buffer.getvalue(), "/upload/mask", original_ref=ref, overwrite="1")
            assert told.json == {"name": "m.png", "subfolder": "", "type": "input"}
            seen = await client.ask("GET", "/view", params={"filename": "m.png", "type": "input"})
            assert Image.open(io.BytesIO(seen.body)).getpixel((0, 0)) == (10, 20, 30, 77)
        assert await shown(client, await client.submit(load("m.png"))) == (10, 20, 30)
        assert copies(tmp_path, "input/gateway-mask*") == []


@pytest.mark.parametrize(
    ("ref", "status"),
    [
        (None, 500),
        ("no json", 500),
        ("{}", 500),
        ("[1]", 500),
        ('{"filename": "../x.png", "type": "input"}', 400),
        ('{"filename": "x.png", "type": "other"}', 400),
        ('{"filename": "x.png", "subfolder": "../.."}', 400),
        ('{"filename": "gone.png", "type": "input"}', 400),
        ('{"filename": "ComfyUI_00001_.png"}', 400),
    ],
)
async def test_masks_without_an_original(state: str, tmp_path: Path, ref: str | None, status: int) -> None:
    (tmp_path / "w0/output").mkdir(parents=True)
    (tmp_path / "w0/output/ComfyUI_00001_.png").write_bytes(png((1, 2, 3)))
    async with running_farm(state, tmp_path, 1) as (whole, _):
        client = whole.client()
        fields = {} if ref is None else {"original_ref": ref}
        answer = await upload(client, "m.png", png((0, 0, 0)), "/upload/mask", **fields)
        assert answer.status == status
        if status == 400:
            assert answer.json["error"]["extra_info"] == {"field": "original_ref"}
