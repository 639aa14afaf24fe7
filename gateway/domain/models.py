"""Which model files a graph loads, and about how large they are in VRAM.

A worker tells a file's size only in newer versions, so the size here is that of what its folder usually holds; where
it is told, that is taken instead (`gateway.flows.model_sizes`). It weighs models against each other: what they cost
to load is learned (`gateway.domain.learning`).
"""

from __future__ import annotations

import re

from gateway.domain.inputs import InputSpec
from gateway.domain.placement.estimates import Model
from gateway.domain.workflow import names_model, texts_in

GIB = 2**30

_GIB = {
    "checkpoints": 6.5,
    "diffusion_models": 11.0,
    "text_encoders": 4.5,
    "clip_vision": 1.5,
    "controlnet": 1.5,
    "style_models": 0.5,
    "gligen": 0.5,
    "vae": 0.3,
    "loras": 0.2,
    "hypernetworks": 0.2,
    "upscale_models": 0.1,
    "embeddings": 0.0,
    "": 2.0,
}
FOLDERS = tuple(folder for folder, size in _GIB.items() if folder and size)
"""Those whose files take room in VRAM."""
_BY_INPUT = {
    "ckpt_name": "checkpoints",
    "unet_name": "diffusion_models",
    "clip_name": "text_encoders",
    "text_encoder": "text_encoders",
    "vae_name": "vae",
    "control_net_name": "controlnet",
    "lora_name": "loras",
    "lora": "loras",
    "style_model_name": "style_models",
    "gligen_name": "gligen",
    "hypernetwork_name": "hypernetworks",
    "upscale_model": "upscale_models",
}
_BY_CLASS = (
    ("clipvision", "clip_vision"),
    ("controlnet", "controlnet"),
    ("upscale", "upscale_models"),
    ("lora", "loras"),
    ("hypernetwork", "hypernetworks"),
    ("checkpoint", "checkpoints"),
    ("unet", "diffusion_models"),
    ("diffusion", "diffusion_models"),
    ("vae", "vae"),
    ("textencoder", "text_encoders"),
    ("clip", "text_encoders"),
)
"""Words in a class name without underscores, in lower case; the first that is there counts."""


def folder_of(node_class: str, name: str) -> str:
    """The models folder that this input of a loader chooses from; empty when that cannot be told."""
    squeezed = node_class.lower().replace("_", "").replace(" ", "")
    if "clipvision" in squeezed:
        return "clip_vision"
    if (folder := _BY_INPUT.get(re.sub(r"\d+$", "", name.lower()))) is not None:
        return folder
    return next((folder for word, folder in _BY_CLASS if word in squeezed), "")


def models_in(node_class: str, name: str, spec: InputSpec | None, value: object) -> list[Model]:
    """The model files that this literal names: chosen from a combo, or in a widget that only the browser knows."""
    if spec is not None and (spec.options is None or spec.upload or spec.remote):
        return []
    if spec is not None and isinstance(value, dict):
        return []
    size = int(_GIB[folder_of(node_class, name)] * GIB)
    stack = isinstance(value, dict | list)  # of LoRAs, in what is there
    return [Model(text, int(0.2 * GIB) if stack else size) for text in texts_in(value) if names_model(text)]


def weighs(model: Model) -> bool:
    """Whether it decides how long a prompt runs; LoRAs and the like hardly do."""
    return model.size > int(0.3 * GIB)
