from __future__ import annotations

import pytest

from gateway.domain.files import Lives, Marker
from gateway.domain.ids import WorkerName

MARKER = Marker("farm", WorkerName("gpu-0"), "output")


def test_a_marker_tells_the_life_that_was_written_into_it() -> None:
    assert [MARKER.life(MARKER.content(life)) for life in (1, 2, 12345)] == [1, 2, 12345]


NOT_OURS = [None, b"", b"7", b"farm gpu-0 output", b"farm gpu-0 output x\n", b"farm gpu-0 temp 2\n"]
NOT_OURS += [b"other gpu-0 output 2\n", b"farm gpu-1 output 2\n", b"farm gpu-0 output 02\n", b"farm gpu-0 output 2"]


@pytest.mark.parametrize("content", [*NOT_OURS, b"<html>404</html> 1"])
def test_anything_else_is_no_marker_of_ours(content: bytes | None) -> None:
    assert MARKER.life(content) == 0


def test_markers_of_farms_and_workers_that_share_a_disk_are_apart() -> None:
    others = [Marker("other", WorkerName("gpu-0"), "output"), Marker("farm", WorkerName("gpu-1"), "output")]
    assert len({marker.file for marker in (MARKER, *others)}) == 3
    assert all(".." not in Marker("farm", WorkerName(name), "temp").file.filename for name in ("a..b", "..a"))


def test_each_folder_has_lives_of_its_own() -> None:
    lives = Lives(output=2, temp=3)
    assert [lives.of(type) for type in ("output", "temp", "input")] == [2, 3, 1]
