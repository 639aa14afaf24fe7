from __future__ import annotations

from typing import Any

import pytest

from gateway.domain.inputs import read_input, read_inputs


@pytest.mark.parametrize(
    ("raw", "options"),
    [
        ([["a", 1, True]], ("a", 1, True)),
        ([["a"], {"tooltip": "t"}], ("a",)),
        (["COMBO", {"options": ["a", "b"]}], ("a", "b")),
        (["COMBO", {"multiselect": True, "options": ["a"]}], ("a",)),
        (["COMBO", {"remote": {"route": "/x"}}], None),
        (["COMBO"], None),
        (["IMAGE", {}], None),
        ("UNIQUE_ID", None),
        ([], None),
        (None, None),
    ],
)
def test_both_spellings_of_a_combo(raw: Any, options: tuple[Any, ...] | None) -> None:
    spec = read_input("Any", "x", "required", raw)
    assert spec.options == options
    assert all(spec.offers(option) for option in options or ())
    assert not spec.offers("no such option")
    assert not spec.offers(["a"])


def test_options_that_are_lists_are_still_found() -> None:
    spec = read_input("Any", "x", "required", [[["a", "b"], "c"]])
    assert spec.offers(["a", "b"])
    assert spec.offers("c")
    assert not spec.offers(["c"])


@pytest.mark.parametrize(
    ("node_class", "name", "config", "upload", "remote"),
    [
        ("X", "image", {"image_upload": True}, True, False),
        ("X", "audio", {"audio_upload": True}, True, False),
        ("X", "file", {"video_upload": True}, True, False),
        ("X", "file", {"file_upload": True}, True, False),
        ("X", "image", {"animated_image_upload": True}, True, False),
        ("X", "image", {"image_folder": "output"}, True, False),
        ("X", "image", {"image_upload": False}, False, False),
        ("X", "image", {"remote": {"route": "/internal/files/output"}}, False, True),
        ("X", "image", {"remote_combo": {"route": "/x"}}, False, True),
        ("LoadLatent", "latent", {}, True, False),
        ("SaveLatent", "latent", {}, False, False),
    ],
)
def test_which_inputs_name_files(
    node_class: str, name: str, config: dict[str, Any], upload: bool, remote: bool
) -> None:
    spec = read_input(node_class, name, "required", [["a"], config])
    assert (spec.upload, spec.remote) == (upload, remote)


def test_needs_come_in_order_and_the_first_of_a_name_counts() -> None:
    declared = {
        "hidden": {"h": "PROMPT"},
        "optional": {"o": ["INT"], "r": ["FLOAT"]},
        "required": {"r": ["STRING", {"multiline": True}]},
        "other": {"z": ["INT"]},
    }
    specs = read_inputs("X", declared)
    assert [(spec.name, spec.need, spec.type) for spec in specs.values()] == [
        ("r", "required", "STRING"),
        ("o", "optional", "INT"),
        ("h", "hidden", "PROMPT"),
    ]
    assert specs["r"].declaration() == ["STRING", {"multiline": True}]
    assert read_inputs("X", None) == {}
