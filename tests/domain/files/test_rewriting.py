"""What becomes of a worker's words about its files, told by the farm."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.domain.files import Lives, Names, rename, rename_output, rename_record
from gateway.domain.ids import WorkerName

GPU = WorkerName("gpu")
NAMES = Names(GPU, workers={GPU, WorkerName("other")})
LATER = Names(GPU, Lives(output=2, temp=3))
SHARED = Names(GPU, Lives(temp=3), shared=True)


def file(name: str, type: str = "output", **more: Any) -> dict[str, Any]:
    return {"filename": name, "subfolder": "", "type": type, **more}


OUTPUTS: list[tuple[str, Any, Any]] = [
    (
        "pictures",
        {"images": [file("a.png"), file("t.png", "temp")]},
        {"images": [file("a~gpu.png"), file("t~gpu.png", "temp")]},
    ),
    ("an input file is the farm's own", {"images": [file("a.png", "input")]}, {"images": [file("a.png", "input")]}),
    (
        "any kind, at any depth",
        {"x": {"y": [[{"z": file("a.latent")}]]}},
        {"x": {"y": [[{"z": file("a~gpu.latent")}]]}},
    ),
    (
        "flags and texts",
        {"animated": [True], "text": ["a.png", 5, None]},
        {"animated": [True], "text": ["a.png", 5, None]},
    ),
    (
        "VideoHelperSuite",
        {"gifs": [file("v.mp4", format="video/h264-mp4", workflow="v.png", fullpath="/opt/ComfyUI/output/v.mp4")]},
        {"gifs": [file("v~gpu.mp4", format="video/h264-mp4", workflow="v~gpu.png")]},
    ),
    (
        "VideoHelperSuite on Windows",
        {"gifs": [file("v.mp4", "temp", workflow="v.png", fullpath="C:\\ComfyUI\\temp\\v.mp4")]},
        {"gifs": [file("v~gpu.mp4", "temp", workflow="v~gpu.png")]},
    ),
    (
        "a folder by its whole path",
        {"images": [{**file("a.png"), "subfolder": "/opt/ComfyUI/output/s/t"}, {**file("b.png"), "subfolder": "/mnt"}]},
        {"images": [{**file("a~gpu.png"), "subfolder": "s/t"}, file("b~gpu.png")]},
    ),
    ("a 3D preview", {"result": ["mesh/m.glb", None]}, {"result": ["mesh/m~gpu.glb", None]}),
    (
        "a 3D preview of newer versions",
        {"result": ["m.glb [output]", {"fov": 75}, "bg/b.png [temp]", "3d/in.glb [input]"]},
        {"result": ["m~gpu.glb [output]", {"fov": 75}, "bg/b~gpu.png [temp]", "3d/in.glb [input]"]},
    ),
    (
        "a 3D preview by whole paths",
        {"result": ["/opt/ComfyUI/output/mesh/m.glb", "", "/opt/ComfyUI/temp/b.png", "/elsewhere/x.glb"]},
        {"result": ["mesh/m~gpu.glb", "", "b~gpu.png [temp]", "x~gpu.glb"]},
    ),
    ("a 3D preview of what is a farm's name already", {"result": ["m~other.glb"]}, {"result": ["m~other.glb"]}),
    (
        "other results",
        {"result": ["yes", "/imagine", 5], "r": "m.glb"},
        {"result": ["yes", "/imagine", 5], "r": "m.glb"},
    ),
    ("a path in a text", {"text": ["/opt/ComfyUI/output/s/v.mp4"]}, {"text": ["s/v~gpu.mp4 [output]"]}),
    ("a path in an object", {"saved": {"at": "D:\\c\\output\\v.mp4"}}, {"saved": {"at": "v~gpu.mp4 [output]"}}),
    ("nothing", None, None),
]


@pytest.mark.parametrize(("told", "known"), [pytest.param(*row[1:], id=row[0]) for row in OUTPUTS])
def test_outputs(told: Any, known: Any) -> None:
    before = json.dumps(told)
    changed = rename_output(told, NAMES)
    assert told == known
    assert changed == (json.dumps(told) != before)


def test_lives_and_shared_folders() -> None:
    both = {"images": [file("a.png"), file("t.png", "temp")]}
    told = json.loads(json.dumps(both))
    rename(told, LATER)
    assert [item["filename"] for item in told["images"]] == ["a~gpu.2.png", "t~gpu.3.png"]
    told = json.loads(json.dumps(both))
    rename(told, SHARED)
    assert [item["filename"] for item in told["images"]] == ["a.png", "t~gpu.3.png"]


def test_a_path_is_taken_out_where_names_are_shared_too() -> None:
    told = {"gifs": [file("v.mp4", workflow="v.png", fullpath="/mnt/output/v.mp4")]}
    rename_output(told, SHARED)
    assert told == {"gifs": [file("v.mp4", workflow="v.png")]}


def test_of_a_record_everything_but_the_prompt() -> None:
    prompt = [1, "p", {"1": {"inputs": {"x": file("a.png")}}}, {"extra": file("a.png")}, ["1"]]
    error = ["execution_error", {"current_inputs": {"x": [file("a.png")]}, "traceback": ["/opt/output/nodes.py"]}]
    record = {"prompt": prompt, "outputs": {"1": {"images": [file("a.png")]}}, "status": {"messages": [error]}}
    untouched = json.dumps(prompt)
    rename_record(record, NAMES)
    assert json.dumps(record["prompt"]) == untouched
    assert record["outputs"] == {"1": {"images": [file("a~gpu.png")]}}
    assert error[1] == {"current_inputs": {"x": [file("a~gpu.png")]}, "traceback": ["/opt/output/nodes.py"]}
    rename_record({"prompt": prompt}, NAMES)


def test_what_is_deeper_than_any_stack() -> None:
    deep: Any = file("a.png")
    for _ in range(20_000):
        deep = [deep]
    assert rename_output(deep, NAMES)
