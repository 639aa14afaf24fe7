"""The validators of ComfyUI's own nodes, which /object_info does not show, by generation.

From nodes.py, comfy_extras/ and comfy_api_nodes/ of 0.3.64 and of 0.38.1. None stands for a class that is known to have
none. Of a class that is not listed, inputs that name files are taken to be checked for the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.domain.validation.custom import Check, HasFile, Validator
from gateway.domain.validation.verdict import Generation

Table = Mapping[str, Validator | None]


def validator_of(node_class: str, generation: Generation) -> Validator | None:
    """None when the class has none in that generation, or is not known."""
    return _TABLES[generation].get(node_class)


def listed(node_class: str, generation: Generation) -> bool:
    return node_class in _TABLES[generation]


def _camera_moves(given: Mapping[str, Any], _has_file: HasFile) -> bool | str:
    if any(given.values()):
        return True
    return "Invalid camera control configs: at least one of the values must be non-zero"


def _file(input_name: str, kind: str, *, none_is_fine: bool = False) -> Check:
    def check(given: Mapping[str, Any], has_file: HasFile) -> bool | str:
        name = given[input_name]
        if none_is_fine and (not name or name == "none"):
            return True
        return True if _exists(name, has_file) else f"Invalid {kind} file: {name}"

    return check


def _files(given: Mapping[str, Any], has_file: HasFile) -> bool | str:
    images = given["images"]
    missing = (name for name in (images if isinstance(images, list) else [images]) if not _exists(name, has_file))
    return next((f"Invalid image file: {name}" for name in missing), True)


def _exists(name: object, has_file: HasFile) -> bool:
    if not isinstance(name, str):
        # What a worker's own look at the name's ending comes to, and what its answer says.
        raise AttributeError(  # noqa: TRY004
            f"'{type(name).__name__}' object has no attribute 'endswith'"
        )
    return has_file(name)


def _either_branch(given: Mapping[str, Any], _has_file: HasFile) -> bool | str:
    if "on_false" in given or "on_true" in given:
        return True
    return "At least one of on_false or on_true must be connected to Switch node"


_IMAGE = Validator("LoadImage.VALIDATE_INPUTS", ("image",), check=_file("image", "image"))
_MODEL_FILE = _file("model_file", "3D model", none_is_fine=True)
_BOTH: Table = {
    "LoadImage": _IMAGE,
    "LoadImageOutput": _IMAGE,
    "LoadLatent": Validator("LoadLatent.VALIDATE_INPUTS", ("latent",), check=_file("latent", "latent")),
    "LoadVideo": Validator("LoadVideo.validate_inputs", ("file",), check=_file("file", "video")),
    "FluxProUltraImageNode": Validator("FluxProUltraImageNode.validate_inputs", ("aspect_ratio",)),
}
_OLD: Table = {
    "LoadImageMask": Validator("LoadImageMask.VALIDATE_INPUTS", ("image",), check=_file("image", "image")),
    "LoadAudio": Validator("LoadAudio.VALIDATE_INPUTS", ("audio",), check=_file("audio", "audio")),
    "LoadImageSetNode": Validator("LoadImageSetNode.VALIDATE_INPUTS", ("images", "resize_method"), check=_files),
    "KlingCameraControls": Validator(
        "KlingCameraControls.validate_inputs",
        ("horizontal_movement", "vertical_movement", "pan", "tilt", "roll", "zoom"),
        check=_camera_moves,
    ),
    "TripoConversionNode": Validator("TripoConversionNode.VALIDATE_INPUTS", link_types=True),
    "Load3D": None,
    "Load3DAnimation": None,
}
_NEW: Table = {
    "LoadImageMask": _IMAGE,
    "LoadAudio": Validator("LoadAudio.validate_inputs", ("audio",), check=_file("audio", "audio")),
    "TripoConversionNode": Validator("TripoConversionNode.validate_inputs", link_types=True),
    "Load3D": Validator("Load3D.validate_inputs", ("model_file",), everything=True, check=_MODEL_FILE),
    "Load3DAdvanced": Validator("Load3DAdvanced.validate_inputs", ("model_file",), everything=True, check=_MODEL_FILE),
    "ComfySoftSwitchNode": Validator(
        "SoftSwitchNode.validate_inputs", ("switch",), ("on_false", "on_true"), check=_either_branch
    ),
    "CustomCombo": Validator("CustomComboNode.validate_inputs", ("choice",), ("index",), everything=True),
    "ModelAttentionBackend": Validator("ModelAttentionBackend.VALIDATE_INPUTS", ("attention",)),
    "SelectModelDevice": Validator("SelectModelDevice.validate_inputs", optional=("device",)),
    "SelectCLIPDevice": Validator("SelectCLIPDevice.validate_inputs", optional=("device",)),
    "SelectVAEDevice": Validator("SelectVAEDevice.validate_inputs", optional=("device",)),
}
_TABLES: Mapping[Generation, Table] = {
    Generation.OLD: {**_BOTH, **_OLD},
    Generation.NEW: {**_BOTH, **_NEW},
}
