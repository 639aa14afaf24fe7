"""Where files stand in what a worker tells (contract 5.7): any object with a filename and a type."""

from __future__ import annotations

from typing import Any, NamedTuple

WRITTEN = ("output", "temp")
"""The types of files that prompts write."""


class OutputFile(NamedTuple):
    """A file as /view names it."""

    type: str
    subfolder: str
    filename: str


def files_in(outputs: Any) -> set[OutputFile]:
    """Every object with a filename that is an output or temp file, at any depth."""
    found: set[OutputFile] = set()
    rest = [outputs]
    while rest:
        value = rest.pop()
        if isinstance(value, list):
            rest += value
        elif isinstance(value, dict):
            rest += value.values()
            if is_file(value):
                found.add(OutputFile(value["type"], str(value.get("subfolder") or ""), value["filename"]))
    return found


def is_file(value: dict[str, Any]) -> bool:
    return isinstance(value.get("filename"), str) and value.get("type") in WRITTEN
