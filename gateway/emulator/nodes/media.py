"""Audio, video and 3D: files are passed through and named as ComfyUI names them; nothing is encoded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.emulator.naming import save_place
from gateway.emulator.nodes.base import Behaviour, Context, Result, as_text
from gateway.emulator.nodes.images import content_of
from gateway.emulator.pictures import Pictures, paint


@dataclass(frozen=True, slots=True)
class Media:
    """AUDIO or VIDEO: the bytes of a file."""

    data: bytes


def load(name: str) -> Any:
    def run(context: Context, _: dict[str, Any], inputs: dict[str, Any]) -> Result:
        return Result((Media(context.worker.folders.of_value(inputs[name]).read_bytes()),))

    return run


def _save(context: Context, prefix: str, extension: str, data: bytes, size: tuple[int, int] = (0, 0)) -> dict[str, str]:
    root = context.worker.folders.kind("output")
    assert root is not None
    place = save_place(root, prefix, *size)
    name = place.name(0, extension)
    Path(place.folder / name).write_bytes(data)
    return {"filename": name, "subfolder": place.subfolder, "type": "output"}


def save_audio(context: Context, _: dict[str, Any], inputs: dict[str, Any]) -> Result:
    return Result(ui={"audio": [_save(context, inputs["filename_prefix"], "flac", inputs["audio"].data)]})


def save_video(context: Context, _: dict[str, Any], inputs: dict[str, Any]) -> Result:
    file = _save(context, inputs["filename_prefix"], "mp4", inputs["video"].data)
    return Result(ui={"images": [file], "animated": (True,)})


def save_webm(context: Context, _: dict[str, Any], inputs: dict[str, Any]) -> Result:
    pictures: Pictures = inputs["images"]
    data = b"".join(image.resize((16, 16)).tobytes() for image in pictures.images)
    file = _save(context, inputs["filename_prefix"], "webm", data, (pictures.width, pictures.height))
    return Result(ui={"images": [file], "animated": (True,)})


def preview_any(_: Context, __: dict[str, Any], inputs: dict[str, Any]) -> Result:
    return Result(ui={"text": (as_text(inputs["source"]),)})


def load_3d(_: Context, __: dict[str, Any], inputs: dict[str, Any]) -> Result:
    view = Pictures((paint(inputs["width"], inputs["height"], 3),))
    mask = Pictures((view.images[0].convert("L"),))
    return Result((view, mask, inputs["model_file"], view, view, {}, Media(b"")))


BEHAVIOURS = {
    "LoadAudio": Behaviour(load("audio"), content_of("audio")),
    "LoadVideo": Behaviour(load("file"), content_of("file")),
    "SaveAudio": Behaviour(save_audio),
    "SaveVideo": Behaviour(save_video),
    "SaveWEBM": Behaviour(save_webm),
    "PreviewAny": Behaviour(preview_any),
    "Load3D": Behaviour(load_3d),
}
