from __future__ import annotations

from typing import Any

from gateway.domain.files import OutputFile, files_in


def file(name: str, type: str = "output", **more: Any) -> dict[str, Any]:
    return {"filename": name, "subfolder": "", "type": type, **more}


def test_files_are_found_wherever_they_stand() -> None:
    outputs = {
        "1": {"images": [file("a.png"), file("b.png", "temp", subfolder="s")]},
        "2": {"deep": [{"list": [[file("c.png", subfolder=None)]]}]},
        "3": {"images": [file("in.png", "input"), {"filename": "no type"}, {"filename": 5, "type": "output"}, "d.png"]},
    }
    assert files_in(outputs) == {
        OutputFile("output", "", "a.png"),
        OutputFile("temp", "s", "b.png"),
        OutputFile("output", "", "c.png"),
    }
    assert files_in(None) == set()
