from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.cli import main
from tests.farm import farm, picture, sleeping
from tests.scripted import Scripted
from tests.servers import until

pytestmark = pytest.mark.anyio


async def test_what_was_placed_is_logged_with_its_end_and_can_be_played_again(
    state: str, scripted_worker: Scripted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "decisions"
    async with farm(state, scripted_worker, decision_log=str(path)) as gateway:
        client = gateway.client()
        first = await client.submit(sleeping())
        await client.runs(first)
        assert (await client.get(f"/gateway/jobs/{first}"))["reason"] == "turn"
        id = await client.submit(picture())
        scripted_worker.finish()
        await scripted_worker.runs(2)
        await client.runs(id)
        told = await client.get(f"/gateway/jobs/{id}")
        assert told["reason"] == "turn", "there is one worker"
        scripted_worker.finish()

        async def has_ended() -> bool:
            return id in await client.get("/history")

        await until(has_ended, "it ends")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    told_of = [line["prompt_id"] for line in lines]
    assert told_of in ([first, first, id, id], [first, id, first, id]), "one that had a free worker too"
    made = {line["prompt_id"]: line for line in lines if "ran" not in line}
    assert made[id]["worker"] == made[first]["worker"] == "w0"
    assert made[first]["since"] == made[first]["at"], "it did not wait"
    assert all(line["ran"] >= 0 for line in lines if "ran" in line)
    assert main(["replay", str(path), "--policy", "least-queue"]) == 0
    printed = capsys.readouterr().out
    assert "recorded (expected-completion)" in printed
    assert "played (least-queue)" in printed


def test_a_file_that_is_no_log_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "log"
    assert main(["replay", str(path), "--policy", "random"]) == 1
    path.write_text("hello\n")
    assert main(["replay", str(path), "--policy", "random"]) == 1
    assert main(["replay", str(path), "--policy", "random", "--slots", "0"]) == 1
    assert [line.count("gateway: ") for line in capsys.readouterr().err.splitlines()] == [1, 1, 1]
