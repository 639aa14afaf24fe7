"""Names across workers: the way there and back, whatever savers and farms call their files and workers."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.domain.files import Bare, bare, farm_name
from gateway.domain.ids import WorkerName

GPU, PORT, DOTTED, NUMBER = map(WorkerName, ("gpu-0", "10.0.0.5-8188", "10.0.0.5", "7"))
WORKERS = frozenset((GPU, PORT, DOTTED, NUMBER, WorkerName("gpu"), WorkerName("gpu.2"), WorkerName("gpu.png")))

NAMES: list[tuple[str, WorkerName, int, str]] = [
    ("ComfyUI_00001_.png", GPU, 1, "ComfyUI_00001_~gpu-0.png"),
    ("ComfyUI_00001_.png", GPU, 2, "ComfyUI_00001_~gpu-0.2.png"),
    ("ComfyUI_00001_.png", PORT, 1, "ComfyUI_00001_~10.0.0.5-8188.png"),
    ("ComfyUI_00001_.png", DOTTED, 1, "ComfyUI_00001_~10.0.0.5.1.png"),
    ("ComfyUI_00001_.png", NUMBER, 12, "ComfyUI_00001_~7.12.png"),
    ("notes", GPU, 1, "notes~gpu-0"),
    ("notes", GPU, 3, "notes~gpu-0.3"),
    ("notes", PORT, 1, "notes~10.0.0.5-8188.1"),
    ("notes", WorkerName("gpu.png"), 1, "notes~gpu.png.1"),
    ("take.001", GPU, 1, "take.001~gpu-0"),
    ("x.tar.gz", GPU, 1, "x.tar~gpu-0.gz"),
    ("a~b.png", GPU, 1, "a~b~gpu-0.png"),
    ("a.b~c", GPU, 1, "a.b~c~gpu-0"),
    ("a~gpu-0.png", GPU, 1, "a~gpu-0~gpu-0.png"),
    (".hidden", GPU, 1, ".hidden~gpu-0"),
    ("..png", GPU, 1, "..png~gpu-0"),
    ("end.", GPU, 1, "end.~gpu-0"),
    ('a "quoted" name.png', GPU, 1, 'a "quoted" name~gpu-0.png'),
    ("ünï–😀.webp", GPU, 1, "ünï–😀~gpu-0.webp"),
    ("\udcff.png", GPU, 1, "\udcff~gpu-0.png"),
    ("mesh.v2/shape", GPU, 1, "mesh.v2/shape~gpu-0"),
    ("mesh/shape.glb", GPU, 1, "mesh/shape~gpu-0.glb"),
]


@pytest.mark.parametrize(("filename", "worker", "life", "name"), NAMES)
def test_there_and_back(filename: str, worker: WorkerName, life: int, name: str) -> None:
    assert farm_name(filename, worker, life) == name
    assert bare(name, WORKERS) == Bare(filename, worker, life)


FOREIGN = ["", "x.png", "ComfyUI_00001_.png", "~gpu-0.png", "x~other.png", "x~gpu-0.1.png", "x~gpu-0.02.png", "x~.png"]
FOREIGN += ["x.y~gpu-0", "x~gpu-0.png~", "x~gpu-0.0.png", "x~10.0.0.5.png", "x~10.0.0.5-8188"]


@pytest.mark.parametrize("name", FOREIGN)
def test_names_of_other_kinds(name: str) -> None:
    assert bare(name, WORKERS) is None


part = st.text(st.sampled_from("ab.~ 0129\"'ü") | st.characters(exclude_characters="/\0"), min_size=1, max_size=12)
workers = st.text(st.sampled_from("abg019_.-"), min_size=1, max_size=8).map(WorkerName)
lives = st.integers(1, 10**9 - 1)


@given(part, workers, lives)
def test_any_name_comes_back(filename: str, worker: WorkerName, life: int) -> None:
    name = farm_name(filename, worker, life)
    assert bare(name, {worker}) == Bare(filename, worker, life)
    assert "/" not in name


@given(part, workers, lives, part, workers, lives)
def test_two_files_never_share_a_name(a: str, on: WorkerName, life: int, b: str, other: WorkerName, later: int) -> None:
    assume((a, on, life) != (b, other, later))
    assert farm_name(a, on, life) != farm_name(b, other, later)


@given(part, workers)
def test_a_foreign_name_is_nobodys_or_reads_as_it_would_be_written(name: str, worker: WorkerName) -> None:
    found = bare(name, {worker})
    assert found is None or farm_name(*found) == name
