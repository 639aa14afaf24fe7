"""Nodes that really make, change, load and save pictures."""

from __future__ import annotations

import hashlib
import random
import string
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageFilter, ImageOps

from gateway.emulator.naming import SavePlace, save_place
from gateway.emulator.nodes.base import Behaviour, Context, Result
from gateway.emulator.pictures import Pictures, load, png_texts

if TYPE_CHECKING:
    from gateway.emulator.worker import Worker

RESAMPLING = {
    "nearest-exact": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "area": Image.Resampling.BOX,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def empty_image(_: Context, __: dict[str, Any], inputs: dict[str, Any]) -> Result:
    color = inputs["color"]
    picture = Image.new("RGB", (inputs["width"], inputs["height"]), (color >> 16 & 255, color >> 8 & 255, color & 255))
    return Result((Pictures((picture,) * inputs["batch_size"]),))


def invert(_: Context, __: dict[str, Any], inputs: dict[str, Any]) -> Result:
    return Result((Pictures(tuple(ImageOps.invert(image) for image in inputs["image"].images)),))


def scale(_: Context, __: dict[str, Any], inputs: dict[str, Any]) -> Result:
    """A side of 0 keeps the proportions; both 0 keep the picture."""
    pictures: Pictures = inputs["image"]
    width, height = inputs["width"], inputs["height"]
    if width == height == 0:
        return Result((pictures,))
    width = width or max(1, round(pictures.width * height / pictures.height))
    height = height or max(1, round(pictures.height * width / pictures.width))
    how = RESAMPLING[inputs["upscale_method"]]
    if inputs["crop"] == "center":
        return Result((Pictures(tuple(ImageOps.fit(image, (width, height), how) for image in pictures.images)),))
    return Result((Pictures(tuple(image.resize((width, height), how) for image in pictures.images)),))


def edges(context: Context, _: dict[str, Any], inputs: dict[str, Any]) -> Result:
    """A preprocessor for control nets: the picture's outlines."""
    context.wait(0.2)
    found = tuple(image.convert("L").filter(ImageFilter.FIND_EDGES).convert("RGB") for image in inputs["image"].images)
    return Result((Pictures(found),))


def load_image(context: Context, _: dict[str, Any], inputs: dict[str, Any]) -> Result:
    return Result(load(context.worker.folders.of_value(inputs["image"])))


def load_output(context: Context, _: dict[str, Any], inputs: dict[str, Any]) -> Result:
    return Result(load(context.worker.folders.of_value(inputs["image"])))


def load_mask(context: Context, _: dict[str, Any], inputs: dict[str, Any]) -> Result:
    path = context.worker.folders.of_value(inputs["image"])
    if inputs["channel"] == "alpha":
        return Result((load(path)[1],))
    with Image.open(path) as opened:
        return Result((Pictures((opened.convert("RGB").getchannel(inputs["channel"][0].upper()),)),))


def content_of(*names: str) -> Any:
    """A change key: the content of the files that these inputs name."""

    def changed(worker: Worker, inputs: Mapping[str, Any]) -> str:
        digest = hashlib.sha256()
        for name in names:
            path = worker.folders.of_value(str(inputs.get(name, "")))
            digest.update(path.read_bytes() if path.is_file() else b"")
        return digest.hexdigest()

    return changed


def save(context: Context, _: dict[str, Any], inputs: dict[str, Any]) -> Result:
    pictures: Pictures = inputs["images"]
    root = context.worker.folders.kind("output")
    assert root is not None
    place = save_place(root, inputs["filename_prefix"], pictures.width, pictures.height)
    return Result(ui={"images": _write(place, pictures, inputs, "output", 4)})


def preview(context: Context, instance: dict[str, Any], inputs: dict[str, Any]) -> Result:
    pictures: Pictures = inputs["images"]
    root = context.worker.folders.kind("temp")
    assert root is not None
    letters = instance.setdefault("letters", "".join(random.choices(string.ascii_lowercase, k=5)))
    place = save_place(root, f"ComfyUI_temp_{letters}", pictures.width, pictures.height)
    return Result(ui={"images": _write(place, pictures, inputs, "temp", 1)})


def _write(place: SavePlace, pictures: Pictures, inputs: dict[str, Any], kind: str, level: int) -> list[dict[str, str]]:
    files = []
    texts = png_texts(inputs.get("prompt"), inputs.get("extra_pnginfo"))
    for index, picture in enumerate(pictures.images):
        name = place.name(index, "png")
        picture.save(place.folder / name, pnginfo=texts, compress_level=level)
        files.append({"filename": name, "subfolder": place.subfolder, "type": kind})
    return files


def save_webp(context: Context, _: dict[str, Any], inputs: dict[str, Any]) -> Result:
    pictures: Pictures = inputs["images"]
    root = context.worker.folders.kind("output")
    assert root is not None
    place = save_place(root, inputs["filename_prefix"], pictures.width, pictures.height)
    name = place.name(0, "webp")
    first, *rest = pictures.images
    duration = int(1000 / inputs["fps"])
    first.save(place.folder / name, save_all=True, append_images=rest, duration=duration, quality=inputs["quality"])
    file = {"filename": name, "subfolder": place.subfolder, "type": "output"}
    return Result(ui={"images": [file], "animated": (len(pictures.images) > 1,)})


BEHAVIOURS = {
    "EmptyImage": Behaviour(empty_image),
    "ImageInvert": Behaviour(invert),
    "ImageScale": Behaviour(scale),
    "HEDPreprocessor": Behaviour(edges),
    "ScribblePreprocessor": Behaviour(edges),
    "LoadImage": Behaviour(load_image, content_of("image")),
    "LoadImageMask": Behaviour(load_mask, content_of("image")),
    "LoadImageOutput": Behaviour(load_output, content_of("image")),
    "SaveImage": Behaviour(save),
    "PreviewImage": Behaviour(preview),
    "SaveAnimatedWEBP": Behaviour(save_webp),
}
