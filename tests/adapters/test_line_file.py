from __future__ import annotations

from pathlib import Path

import pytest

from gateway.adapters.line_file import WAITING, RotatingLines

pytestmark = pytest.mark.anyio


async def test_lines_are_written_when_it_is_time(tmp_path: Path) -> None:
    file = RotatingLines(tmp_path / "deep" / "log", 1000)
    await file.flush()
    assert not (tmp_path / "deep").exists()
    file.add("one")
    file.add("two")
    await file.flush()
    await file.flush()
    assert (tmp_path / "deep" / "log").read_text() == "one\ntwo\n"


async def test_it_takes_no_more_than_twice_its_size(tmp_path: Path) -> None:
    file = RotatingLines(tmp_path / "log", 100)
    for number in range(95):
        file.add(f"line {number:4}")
        await file.flush()
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) == 2
    assert all(size <= 110 for size in sizes)
    assert (tmp_path / "log").read_text().endswith("line   94\n")


async def test_what_a_slow_disk_cannot_take_is_given_up_oldest_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    nowhere = RotatingLines(tmp_path / "file" / "log", 100)
    for number in range(WAITING + 5):
        nowhere.add(str(number))
    await nowhere.flush()
    assert f"{WAITING} lines are lost" in caplog.text
    await nowhere.flush()
