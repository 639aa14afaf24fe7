"""What this worker has: its node classes, with the files that their lists show, and its model folders."""

from __future__ import annotations

import copy
import json
import mimetypes
from collections.abc import Mapping
from functools import cached_property
from importlib import resources
from typing import Any

from gateway.domain.catalogue import NodeClass, Pool, parse
from gateway.emulator.folders import Folders
from gateway.emulator.settings import EmulatorSettings

MODEL_INPUTS = {
    ("CheckpointLoaderSimple", "ckpt_name"): "checkpoints",
    ("UNETLoader", "unet_name"): "diffusion_models",
    ("CLIPLoader", "clip_name"): "text_encoders",
    ("DualCLIPLoader", "clip_name1"): "text_encoders",
    ("DualCLIPLoader", "clip_name2"): "text_encoders",
    ("CLIPVisionLoader", "clip_name"): "clip_vision",
    ("ControlNetLoader", "control_net_name"): "controlnet",
    ("UpscaleModelLoader", "model_name"): "upscale_models",
    ("VAELoader", "vae_name"): "vae",
    ("LoraLoader", "lora_name"): "loras",
    ("ProbeModel", "model"): "probe",
}
FILE_INPUTS = {
    ("LoadImage", "image"): ("image",),
    ("LoadImageMask", "image"): ("image",),
    ("LoadAudio", "audio"): ("audio", "video"),
    ("LoadVideo", "file"): ("video",),
}
MODEL_FOLDERS = [
    "checkpoints",
    "configs",
    "loras",
    "vae",
    "text_encoders",
    "diffusion_models",
    "clip_vision",
    "style_models",
    "embeddings",
    "diffusers",
    "vae_approx",
    "controlnet",
    "gligen",
    "upscale_models",
    "custom_nodes",
    "hypernetworks",
    "photomaker",
    "classifiers",
    "model_patches",
    "audio_encoders",
]
FOLDERS_SINCE = [
    "latent_upscale_models",
    "datasets",
    "background_removal",
    "frame_interpolation",
    "optical_flow",
    "detection",
]
LISTS_MODELS = frozenset(MODEL_INPUTS.values()) - {"probe"}


class Listing:
    def __init__(self, settings: EmulatorSettings, folders: Folders) -> None:
        self._settings = settings
        self._folders = folders
        self._pool = Pool()
        self._parsed: tuple[str, Mapping[str, NodeClass]] = ("", {})

    @cached_property
    def _base(self) -> dict[str, Any]:
        """The shipped catalogue with this worker's models, which never change while it runs."""
        shipped = json.loads(resources.files("gateway.emulator").joinpath("object_info.json").read_text())
        catalogue = {name: info for name, info in shipped.items() if name not in self._settings.lacks}
        for (name, field), folder in MODEL_INPUTS.items():
            if name in catalogue:
                _extend(catalogue[name], field, self.models(folder))
        return {name: self._modern(info) for name, info in catalogue.items()}

    def object_info(self) -> dict[str, Any]:
        """As GET /object_info tells it now; the lists of files are read from the disk each time."""
        catalogue = dict(self._base)
        names = self._folders.listing()
        for (name, field), kinds in FILE_INPUTS.items():
            if name in catalogue:
                catalogue[name] = copy.deepcopy(catalogue[name])
                _extend(catalogue[name], field, [file for file in names if _media_kind(file) in kinds])
        if "Load3D" in catalogue:
            catalogue["Load3D"] = copy.deepcopy(catalogue["Load3D"])
            _extend(catalogue["Load3D"], "model_file", [f"3d/{file}" for file in self._folders.listing("input", "3d")])
        return catalogue

    def nodes(self) -> Mapping[str, NodeClass]:
        """The same for the validator, parsed again only when it changed."""
        raw = json.dumps(self.object_info())
        if raw != self._parsed[0]:
            self._parsed = raw, parse(raw.encode(), self._pool).nodes
        return self._parsed[1]

    @property
    def folders(self) -> list[str]:
        return [*MODEL_FOLDERS, *FOLDERS_SINCE] if self._settings.is_new else list(MODEL_FOLDERS)

    def models(self, folder: str) -> list[str]:
        """Names in one model folder, sorted; ProbeModel's own list has every .safetensors there is."""
        named = [_placed(model) for model in self._settings.models]
        if folder == "probe":
            return [name for _, name in named if name.endswith(".safetensors")]
        if folder not in LISTS_MODELS and folder not in {place for place, _ in named}:
            return []
        return sorted(name for place, name in named if place in (None, folder))

    def _modern(self, info: dict[str, Any]) -> dict[str, Any]:
        """0.38.1 tells a little more of each class."""
        if not self._settings.is_new:
            return info
        told: dict[str, Any] = {}
        for key, value in info.items():
            told[key] = value
            if key == "input_order":
                told["is_input_list"] = False
        return {**told, "has_intermediate_output": False, "search_aliases": []}


def _placed(model: str) -> tuple[str | None, str]:
    folder, slash, name = model.partition("/")
    return (folder, name) if slash and folder in {*MODEL_FOLDERS, *FOLDERS_SINCE} else (None, model)


def _media_kind(name: str) -> str:
    return (mimetypes.guess_type(name)[0] or "").partition("/")[0]


def _extend(info: dict[str, Any], field: str, names: list[str]) -> None:
    """Fills a combo in either of its two spellings. ProbeModel keeps its own list when there are no models."""
    declared = info["input"]["required"][field]
    if info["name"] == "ProbeModel":
        declared[0] = names or declared[0]
    elif isinstance(declared[0], list):
        declared[0] = names + declared[0]
    else:
        declared[1]["options"] = names + declared[1]["options"]
