"""Images between nodes: a batch of Pillow pictures of one size; and how ComfyUI prints what a node was given."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo


@dataclass(frozen=True, slots=True)
class Pictures:
    """IMAGE or MASK; never empty, all of one size and mode."""

    images: tuple[Image.Image, ...]

    @property
    def width(self) -> int:
        return self.images[0].width

    @property
    def height(self) -> int:
        return self.images[0].height


@dataclass(frozen=True, slots=True)
class Latent:
    """What a picture will look like: its size, how many, and a number that stands for its content."""

    width: int
    height: int
    batch: int = 1
    seed: int = 0
    base: Pictures | None = None


def load(path: Path) -> tuple[Pictures, Pictures]:
    """The picture in RGB and its mask: white where the picture is transparent."""
    with Image.open(path) as opened:
        upright = ImageOps.exif_transpose(opened)
        alpha = upright.convert("RGBA").getchannel("A")
        return Pictures((upright.convert("RGB"),)), Pictures((ImageOps.invert(alpha),))


def paint(width: int, height: int, seed: int) -> Image.Image:
    """A soft picture that is the same for the same seed, and different for another."""
    dice = random.Random(seed)
    coarse = Image.new("RGB", (4, 3))
    coarse.putdata([(dice.randrange(256), dice.randrange(256), dice.randrange(256)) for _ in range(12)])
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def blend_seed(*parts: Any) -> int:
    """One number out of whatever decides a picture."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big")


def png_texts(prompt: Any, extra_pnginfo: Any) -> PngInfo:
    """The workflow inside the picture: `prompt`, and each key of extra_pnginfo."""
    info = PngInfo()
    if prompt is not None:
        info.add_text("prompt", json.dumps(prompt))
    for name in extra_pnginfo or ():
        info.add_text(name, json.dumps(extra_pnginfo[name]))
    return info


def describe(value: Any) -> Any:
    """An input as `execution_error` shows it: plain values as they are, tensors in torch's short print."""
    if isinstance(value, Pictures):
        return f"tensor({_printed(value)})"
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


def _printed(pictures: Pictures) -> str:
    """torch's summary of batch x height x width x channel: three from each end, `...` between."""
    whole = all(v in (0, 255) for image in pictures.images for lo, hi in _extremes(image) for v in (lo, hi))

    def number(value: float) -> str:
        return f"{value:.0f}." if whole else f"{value:.4f}"

    def pixel(image: Image.Image, x: int, y: int) -> str:
        found = image.getpixel((x, y))
        channels = found if isinstance(found, tuple) else (found,)
        return "[" + ", ".join(number((channel or 0) / 255) for channel in channels) + "]"

    def row(image: Image.Image, y: int) -> str:
        cells = [cell if isinstance(cell, str) else pixel(image, cell, y) for cell in _edges(image.width)]
        return "[" + ",\n          ".join(cells) + "]"

    def plane(image: Image.Image) -> str:
        rows = [cell if isinstance(cell, str) else row(image, cell) for cell in _edges(image.height)]
        return "[" + ",\n\n         ".join(rows) + "]"

    return "[" + ",\n\n\n        ".join(plane(image) for image in pictures.images) + "]"


def _extremes(image: Image.Image) -> Sequence[tuple[int, int]]:
    found: Any = image.getextrema()
    return found if isinstance(found[0], tuple) else (found,)


def _edges(count: int) -> list[int | str]:
    return list(range(count)) if count <= 6 else [0, 1, 2, "...", count - 3, count - 2, count - 1]
