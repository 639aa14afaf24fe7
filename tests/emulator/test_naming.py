"""Names of saved files, by what is on the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.emulator.folders import Folders, Outside, within
from gateway.emulator.naming import save_place


@pytest.mark.parametrize(
    ("there", "name"),
    [
        ([], "p_00001_.png"),
        (["p_00007_.png", "p_00003_.png"], "p_00008_.png"),
        (["p_00004_.webp"], "p_00005_.png"),
        (["q_00009_.png", "pp_00009_.png", "p_x_.png", "p.png"], "p_00001_.png"),
        (["p_100000_.png"], "p_100001_.png"),
    ],
)
def test_the_counter_goes_on_after_the_highest(tmp_path: Path, there: list[str], name: str) -> None:
    for file in there:
        (tmp_path / file).touch()
    assert save_place(tmp_path, "p", 1, 1).name(0, "png") == name


def test_folders_sizes_and_batches(tmp_path: Path) -> None:
    place = save_place(tmp_path, "a/b/%width%x%height%-%batch_num%-%other%", 64, 32)
    assert (place.folder, place.subfolder) == (tmp_path / "a" / "b", "a/b")
    assert place.folder.is_dir()
    assert [place.name(index, "png") for index in (0, 1)] == [
        "64x32-0-%other%_00001_.png",
        "64x32-1-%other%_00002_.png",
    ]


def test_outside_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "output"
    root.mkdir()
    for prefix in ("../x", "/etc/x", "a/../../x"):
        with pytest.raises(Outside):
            save_place(root, prefix, 1, 1)
    with pytest.raises(Outside):
        within(root, "../output-2")
    assert within(root, "a/../b") == root / "b"


def test_annotated_names(tmp_path: Path) -> None:
    folders = Folders.make(tmp_path)
    assert folders.annotated("x.png [output]") == ("x.png", folders.kind("output"))
    assert folders.annotated("x.png") == ("x.png", None)
    assert folders.annotated("x [other].png") == ("x [other].png", None)
    assert folders.of_value("sub/x.png") == tmp_path / "input" / "sub" / "x.png"
    assert folders.kind("user") is None
