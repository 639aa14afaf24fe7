"""The recorded uploads and views come out the same through the gateway, but for what is wanted otherwise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.emulator.replay import Replay, recording
from tests.emulator.test_recorded_files import form
from tests.uploading import load, running_farm

pytestmark = pytest.mark.anyio


async def test_uploads_and_views_replay_through_the_gateway(state: str, tmp_path: Path) -> None:
    """A mask without its original is a 400 here. Who runs the prompt and under which number is another test's."""
    entries = [entry for entry in recording("files") if "http" in entry and entry["http"]["path"] != "/prompt"]
    async with running_farm(state, tmp_path, 2) as (whole, workers):
        async with Replay(replace(workers[0], url=whole.urls[0]), entries) as replay:
            for index, entry in enumerate(entries):
                if entry["http"].get("data") == "<form>":
                    entry = {**entry, "http": {**entry["http"], "data": form(entry["note"])}}
                if entry["note"] == "the original is not there":
                    entry |= {"status": 400, "headers": {"Content-Type": "application/json; charset=utf-8"}, "body": {}}
                await replay.step(index, entry)
        client = whole.client()
        for _ in range(2):
            record = await client.ended(await client.submit(load("clipspace/masked.png [input]")))
            assert record["status"]["status_str"] == "success"
