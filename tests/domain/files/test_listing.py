from __future__ import annotations

from typing import Any

import pytest

from gateway.domain.files.index import FileIndex, Kept
from gateway.domain.files.listing import lists_files, united, with_files
from gateway.domain.files.refs import of_text
from tests.domain.catalogues import catalogue, info

FILES = ["input/a.png", "input/b.wav", "input/c.mp4", "input/d.latent", "input/e.txt", "input/sub/f.png"]
FILES += ["input/3d/g.glb", "input/3d/h.txt", "output/i.png", "temp/j.png", "input/k.webp"]


def index() -> FileIndex:
    """The later in the list, the newer."""
    files = FileIndex()
    files.replace({of_text(name): Kept("b", "d", 1, at) for at, name in enumerate(FILES)})
    return files


def options(node_class: str, declared: Any, name: str = "image") -> list[Any]:
    node = catalogue({node_class: info({name: declared})}).nodes[node_class]
    raw = with_files(node, index().lists())["input"]["required"][name]
    found: list[Any] = raw[0] if isinstance(raw[0], list) else raw[1]["options"]
    return found


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ([["own.png", "a.png"], {"image_upload": True}], ["k.webp", "a.png", "own.png"]),
        (["COMBO", {"image_upload": True, "options": []}], ["k.webp", "a.png"]),
        (["COMBO", {"animated_image_upload": True, "options": []}], ["k.webp", "a.png"]),
        (["COMBO", {"audio_upload": True, "options": ["x.wav"]}], ["c.mp4", "b.wav", "x.wav"]),
        (["COMBO", {"video_upload": True, "options": []}], ["c.mp4"]),
        (["COMBO", {"file_upload": True, "options": ["none"]}], ["3d/g.glb", "none"]),
        (["COMBO", {"image_upload": True, "image_folder": "output", "options": []}], ["i.png"]),
        ([["x", "a.png"], {}], ["x", "a.png"]),
    ],
)
def test_a_loader_lists_what_it_can_load_the_newest_first(declared: Any, expected: list[str]) -> None:
    assert options("Loader", declared) == expected


def test_loaders_without_a_flag() -> None:
    assert options("LoadLatent", [["own.latent"], {}], "latent") == ["d.latent", "own.latent"]
    assert options("VHS_LoadVideo", [[], {}], "video") == ["k.webp", "c.mp4"]
    assert options("VHS_LoadAudioUpload", [[], {}], "audio") == ["c.mp4", "b.wav"]


def test_what_is_told_of_a_node_else_stays_as_it_is() -> None:
    nodes = catalogue(
        {"X": info({"steps": ["INT", {}]}), "L": info({"i": [[], {"image_upload": True, "tooltip": "t"}]})}
    )
    assert with_files(nodes.nodes["X"], index().lists()) is nodes.nodes["X"].info
    assert not lists_files(nodes.nodes["X"])
    assert lists_files(nodes.nodes["L"])
    assert with_files(nodes.nodes["L"], index().lists())["input"]["required"]["i"][1] == {
        "image_upload": True,
        "tooltip": "t",
    }
    assert nodes.nodes["L"].info["input"]["required"]["i"][0] == [], "a worker's own list must not change"
    assert with_files(nodes.nodes["L"], {}) is nodes.nodes["L"].info


def test_names_are_united_in_the_workers_own_spelling() -> None:
    assert united(["b", "a"], ["x", "a"]) == ["b", "a", "x"]
    assert united(["b", "a"], ["x [input]", "a [input]"]) == ["b [input]", "a [input]", "x [input]"]
