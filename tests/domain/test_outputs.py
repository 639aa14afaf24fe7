"""What counts as an output and which one is shown: as newer ComfyUI's GET /api/jobs has it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.domain.outputs import count, count_previewable, items_of, normalised, preview


def file(name: str, type: str = "output", **more: Any) -> dict[str, Any]:
    return {"filename": name, "subfolder": "", "type": type, **more}


SAVED, SHOWN = file("a.png"), file("b.png", "temp")
TEXT_FILE = file("t.TXT")

COUNTS: list[tuple[str, dict[str, Any], int, int]] = [
    ("nothing", {}, 0, 0),
    ("a node that says nothing of use", {"1": None, "2": [SAVED], "3": {"images": SAVED}}, 0, 0),
    (
        "several nodes and kinds",
        {"1": {"images": [SAVED, SHOWN], "audio": [file("c.flac")]}, "2": {"images": []}},
        3,
        3,
    ),
    ("animated is a flag", {"1": {"images": [SAVED], "animated": [True]}}, 1, 1),
    ("animated, with what looks like files", {"1": {"animated": [SAVED]}}, 0, 0),
    ("a kind that no browser shows", {"1": {"latents": [file("x.latent")]}}, 1, 0),
    ("shown for its format", {"1": {"gifs": [file("v", format="video/h264-mp4"), file("s", format="audio/x")]}}, 2, 2),
    ("not shown for its format", {"1": {"gifs": [file("v", format="image/gif")]}}, 1, 0),
    ("shown for its ending", {"1": {"result": [file("m.GLB"), file("n.md"), file("o.json"), file("p.bin")]}}, 4, 3),
    ("a path that is a 3D model", {"1": {"result": ["out/m.OBJ", "camera", None, 7]}}, 1, 1),
    ("texts are no outputs", {"1": {"text": ["a", 5, None]}}, 0, 0),
    ("an object under text is one", {"1": {"text": [{"content": "x"}]}}, 1, 1),
    ("what is no file at all", {"1": {"ui": [{}, {"a": 1}]}}, 2, 0),
]


@pytest.mark.parametrize(("outputs", "all", "shown"), [pytest.param(*row[1:], id=row[0]) for row in COUNTS])
def test_what_counts(outputs: dict[str, Any], all: int, shown: int) -> None:
    items = items_of(outputs)
    assert (count(items), count_previewable(items)) == (all, shown)


def tagged(item: dict[str, Any], node: str, kind: str) -> dict[str, Any]:
    return {**item, "nodeId": node, "mediaType": kind}


TEXT, SHAPE = {"text": ["words"]}, {"filename": "m.obj", "type": "output", "subfolder": "", "mediaType": "3d"}

PREVIEWS: list[tuple[str, dict[str, Any], dict[str, Any] | None]] = [
    ("nothing to show", {"1": {"latents": [file("x.latent")], "numbers": [5]}}, None),
    ("the first saved one", {"1": {"images": [SAVED, file("z.png")]}}, tagged(SAVED, "1", "images")),
    ("saved before shown", {"1": {"images": [SHOWN]}, "2": {"images": [SAVED]}}, tagged(SAVED, "2", "images")),
    (
        "an input file is no saved one",
        {"1": {"images": [file("i", "input"), SHOWN, SAVED]}},
        tagged(SAVED, "1", "images"),
    ),
    (
        "shown before a saved text",
        {"1": {"files": [TEXT_FILE]}, "2": {"images": [SHOWN]}},
        tagged(SHOWN, "2", "images"),
    ),
    ("a saved text before words", {"1": TEXT, "2": {"files": [TEXT_FILE]}}, tagged(TEXT_FILE, "2", "files")),
    ("a picture under text is a text", {"1": {"text": [SAVED]}, "2": {"audio": [SHOWN]}}, tagged(SHOWN, "2", "audio")),
    (
        "words, the first",
        {"1": TEXT, "2": {"text": ["more"]}},
        {"content": "words", "nodeId": "1", "mediaType": "text"},
    ),
    ("a number", {"1": {"text": [5]}}, {"content": "5", "nodeId": "1", "mediaType": "text"}),
    ("words under another name", {"1": {"string": ["words"]}}, None),
    ("a path says itself what it is", {"1": {"result": ["m.obj"]}}, {**SHAPE, "nodeId": "1"}),
    ("a path under text", {"1": {"text": ["m.obj"]}, "2": {"images": [SHOWN]}}, tagged(SHOWN, "2", "images")),
    ("its node is ours to say", {"1": {"images": [file("a", nodeId="9")]}}, tagged(file("a"), "1", "images")),
    ("its kind is its own to say", {"1": {"images": [file("a", mediaType="x")]}}, tagged(file("a"), "1", "x")),
]


@pytest.mark.parametrize(("outputs", "shown"), [pytest.param(*row[1:], id=row[0]) for row in PREVIEWS])
def test_which_one_is_shown(outputs: dict[str, Any], shown: dict[str, Any] | None) -> None:
    before = json.dumps(outputs)
    assert preview(items_of(outputs)) == shown
    assert json.dumps(outputs) == before


def test_long_words_are_cut() -> None:
    for length, cut in ((1024, {}), (1025, {"truncated": True})):
        shown = preview(items_of({"1": {"text": ["x" * length]}}))
        assert shown == {"content": "x" * 1024, **cut, "nodeId": "1", "mediaType": "text"}


def test_a_job_is_told_in_full_with_paths_as_files() -> None:
    told = {
        "1": {"result": ["a/m.glb", "camera", None, 7], "animated": [None], "images": [SAVED, None], "x": "m.obj"},
        "2": None,
        "3": {},
    }
    shape = {"filename": "a/m.glb", "type": "output", "subfolder": "", "mediaType": "3d"}
    wanted = {
        "1": {"result": [shape, "camera", 7], "animated": [None], "images": [SAVED], "x": "m.obj"},
        "2": None,
        "3": {},
    }
    assert json.dumps(normalised(told)) == json.dumps(wanted), "the order of kinds is the node's"
