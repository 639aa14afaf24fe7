from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gateway.domain.stats import Reading, merge

RECORDED: dict[str, Any] = next(
    entry["body"]["json"]
    for entry in json.loads((Path(__file__).parents[1] / "recordings" / "static.json").read_text())
    if entry["http"]["path"] == "/system_stats"
)


def gpu(index: int, free: int) -> dict[str, Any]:
    return {"name": f"cuda:{index} RTX", "type": "cuda", "index": index, "vram_total": 24, "vram_free": free}


def test_one_worker_is_shown_as_it_is_but_for_its_paths() -> None:
    merged = merge([Reading("a", RECORDED, up=True)])
    assert merged == {**RECORDED, "system": {**RECORDED["system"], "argv": ["main.py"]}}
    assert list(merged["system"]) == list(RECORDED["system"])
    assert "/srv/comfyui" in str(RECORDED)  # neither argv nor the reading itself was emptied


def test_devices_of_all_workers_that_are_up_are_told_apart() -> None:
    a = {"system": {"os": "posix", "comfyui_version": "0.3.64"}, "devices": [gpu(0, 1), gpu(1, 2)]}
    b = {"system": {"os": "nt"}, "devices": [{**gpu(0, 3), "extra": 1}]}
    merged = merge([Reading("a", a, up=True), Reading("b", b, up=True), Reading("c", b, up=False)])
    assert merged["system"] == {"os": "posix", "comfyui_version": "0.3.64"}
    assert [(d["name"], d["index"], d["vram_free"]) for d in merged["devices"]] == [
        ("cuda:0 RTX (a)", 0, 1),
        ("cuda:1 RTX (a)", 1, 2),
        ("cuda:0 RTX (b)", 2, 3),
    ]
    assert merged["devices"][2]["extra"] == 1


def test_the_system_stays_the_homes_while_it_is_away() -> None:
    a, b = {"system": {"os": "a"}, "devices": [gpu(0, 1)]}, {"system": {"os": "b"}, "devices": [gpu(0, 2)]}
    merged = merge([Reading("a", a, up=False), Reading("b", b, up=True)])
    assert merged == {"system": {"os": "a"}, "devices": [gpu(0, 2)]}


def test_odd_stats_make_no_trouble() -> None:
    odd: list[dict[str, Any]] = [{}, {"system": None, "devices": None}, {"devices": [1, {"type": "x"}]}]
    assert merge([Reading(str(i), stats, up=True) for i, stats in enumerate(odd)]) == {
        "system": {},
        "devices": [{"type": "x"}],
    }
    assert merge([]) == {"system": {}, "devices": []}
