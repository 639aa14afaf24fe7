"""What a worker tells of its files, as the farm tells it: names that are unique here, and none of its own paths.

Rewritten are the filename of every output or temp file (contract 5.7, at any depth) and the names of the same folder in
it (VideoHelperSuite's `workflow`); path strings in the `result` of 3D previews; and absolute paths inside an output:
those that lead into an output or temp folder become `sub/name [type]`, others are taken out of file objects.
"""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any

from gateway.domain.files.lives import Lives
from gateway.domain.files.naming import bare, farm_name
from gateway.domain.files.references import is_file
from gateway.domain.ids import WorkerName

_ABSOLUTE = re.compile(r"(?:/|[A-Za-z]:[\\/]|\\\\)[^\n]+")
_ANNOTATED = re.compile(r"(.+) \[(output|temp|input)\]", re.DOTALL)
_IN_FOLDER = re.compile(r".*[\\/](output|temp)[\\/](.+)")
_SHAPES = (".obj", ".fbx", ".gltf", ".glb", ".usdz", ".stl", ".ply", ".spz", ".splat", ".ksplat")
_BACKGROUNDS = (".png", ".jpg", ".jpeg", ".webp", ".hdr", ".exr")


@dataclass(frozen=True, slots=True)
class Names:
    """How the files of one worker are called in the farm.

    `shared`: all workers write into one output folder, whose names are then the farm's. Their temp folders are apart
    all the same, since each ComfyUI empties its own when it starts.
    """

    worker: WorkerName
    lives: Lives = field(default_factory=Lives)
    shared: bool = False
    workers: Container[WorkerName] = ()

    def of(self, type: str, filename: str) -> str:
        if self.shared and type == "output":
            return filename
        return farm_name(filename, self.worker, self.lives.of(type))

    def of_path(self, path: str, *, annotate: bool) -> str:
        """A path below a folder, perhaps with its type behind it; one of an input stays."""
        found = _ANNOTATED.fullmatch(path)
        text, type = (found[1], found[2]) if found else (path, "output")
        if type == "input" or bare(text.rpartition("/")[2], self.workers):
            return path
        if _ABSOLUTE.fullmatch(text):
            inside = _IN_FOLDER.fullmatch(text)
            type, text = (inside[1], inside[2]) if inside else (type, re.split(r"[\\/]", text)[-1])
            text, annotate = text.replace("\\", "/"), annotate or type != "output"
        return self.of(type, text) + (f" [{type}]" if found or annotate else "")


def rename(told: Any, names: Names) -> bool:
    """Rewrite, in place, what a worker told; whether anything changed."""
    changed = False
    rest = [told]
    while rest:
        value = rest.pop()
        if isinstance(value, dict):
            changed |= is_file(value) and _rename_file(value, names)
            if isinstance(shown := value.get("result"), list):
                changed |= _rename_shown(shown, names)
            rest += value.values()
        elif isinstance(value, list):
            rest += value
    return changed


def rename_output(output: Any, names: Names) -> bool:
    """Rewrite, in place, what nodes put out: `rename`, and the worker's own paths wherever they stand."""
    changed = rename(output, names)
    rest = [output]
    while rest:
        value = rest.pop()
        if isinstance(value, dict | list):
            for key, item in list(value.items() if isinstance(value, dict) else enumerate(value)):
                if isinstance(item, str) and _ABSOLUTE.match(item) and _IN_FOLDER.fullmatch(item):
                    value[key] = names.of_path(item, annotate=True)
                    changed = True
                elif isinstance(item, dict | list):
                    rest.append(item)
    return changed


def rename_record(record: dict[str, Any], names: Names) -> None:
    """Rewrite a history record in place, but for the prompt in it, which is its client's."""
    rename_output(record.get("outputs"), names)
    rename(record.get("status"), names)


def _rename_file(file: dict[str, Any], names: Names) -> bool:
    file["filename"] = names.of(file["type"], file["filename"])
    if isinstance(folder := file.get("subfolder"), str) and _ABSOLUTE.match(folder):
        inside = _IN_FOLDER.fullmatch(folder)
        file["subfolder"] = inside[2].replace("\\", "/") if inside else ""
    first_frame = file.get("workflow")
    if isinstance(first_frame, str) and first_frame and not _ABSOLUTE.match(first_frame):
        file["workflow"] = names.of(file["type"], first_frame)
    for key in [key for key, item in file.items() if isinstance(item, str) and _ABSOLUTE.fullmatch(item)]:
        if key != "filename":
            del file[key]
    return True


def _rename_shown(shown: list[Any], names: Names) -> bool:
    changed = False
    for place, item in enumerate(shown):
        if isinstance(item, str) and _bare_of(item).lower().endswith(_SHAPES + _BACKGROUNDS):
            shown[place] = names.of_path(item, annotate=False)
            changed |= shown[place] != item
    return changed


def _bare_of(path: str) -> str:
    found = _ANNOTATED.fullmatch(path)
    return found[1] if found else path
