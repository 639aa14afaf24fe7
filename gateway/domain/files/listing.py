"""The farm's files in the lists of nodes that load them, as each worker lists its own folder (contract 5.5)."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Collection, Mapping
from typing import Any

from gateway.domain.catalogue import NodeClass
from gateway.domain.files.index import Lists
from gateway.domain.inputs import InputSpec
from gateway.domain.media import media

_SHAPES = (".gltf", ".glb", ".obj", ".fbx", ".stl")
_LOOPS = (".gif", ".webp")

Wanted = Callable[[str], bool]


def lists_files(node: NodeClass) -> bool:
    return any(spec.upload and spec.options is not None for spec in node.inputs.values())


def with_files(node: NodeClass, files: Lists) -> Mapping[str, Any]:
    """Its entry of /object_info: the farm's files first, the newest before all, then what workers list besides."""
    more = {}
    for spec in node.inputs.values():
        names = _names(node.name, spec, files) if spec.upload and spec.options is not None else ()
        if names and spec.options is not None:
            more[spec.need, spec.name] = [*names, *_others(spec.options, names)]
    if not more:
        return node.info
    declared = {
        need: {name: _with(raw, more[need, name]) if (need, name) in more else raw for name, raw in group.items()}
        if isinstance(group, dict)
        else group
        for need, group in node.info["input"].items()
    }
    return {**node.info, "input": declared}


def united(farm: Collection[str], workers: list[object]) -> list[object]:
    """GET /internal/files/input: ours, then the workers' own. Newer ComfyUIs write ` [input]` behind each."""
    mark = " [input]" if any(isinstance(name, str) and name.endswith(" [input]") for name in workers) else ""
    names = [name + mark for name in farm]
    return [*names, *_others(workers, names)]


def _others(options: Collection[object], names: Collection[str]) -> list[object]:
    known = set(names)
    return [option for option in options if not (isinstance(option, str) and option in known)]


def _names(node_class: str, spec: InputSpec, files: Lists) -> list[str]:
    if spec.config.get("file_upload"):
        return [f"3d/{name}" for name in files.get(("input", "3d"), ()) if name.lower().endswith(_SHAPES)]
    folder = spec.config.get("image_folder", "input")
    wanted = _wanted(node_class, spec)
    return [name for name in files.get((str(folder), ""), ()) if wanted(name)]


def _wanted(node_class: str, spec: InputSpec) -> Wanted:
    if node_class == "LoadLatent":
        return lambda name: posixpath.splitext(name)[1] == ".latent"
    if spec.config.get("audio_upload") or spec.name == "audio":
        return lambda name: media(name) in ("audio", "video")
    if spec.config.get("video_upload") or spec.name == "video":
        return lambda name: media(name) == "video" or (not spec.config and name.lower().endswith(_LOOPS))
    return lambda name: media(name) == "image"


def _with(raw: list[Any], options: list[Any]) -> list[Any]:
    if isinstance(raw[0], list):
        return [options, *raw[1:]]
    return [raw[0], {**raw[1], "options": options}, *raw[2:]]
