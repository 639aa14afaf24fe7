"""Uploads: what name a file gets, and masks laid over a picture that is here already."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gateway.emulator.folders import Folders, Outside, within
from gateway.emulator.worker import Worker

Save = Callable[[web.FileField, Any, Path], None]


def routes(worker: Worker) -> list[web.RouteDef]:
    async def upload_image(request: web.Request) -> web.Response:
        return await asyncio.to_thread(_upload, worker.folders, await request.post(), _write)

    async def upload_mask(request: web.Request) -> web.Response:
        def compose(image: web.FileField, post: Any, path: Path) -> None:
            _compose(worker.folders, image, json.loads(post.get("original_ref")), path)

        return await asyncio.to_thread(_upload, worker.folders, await request.post(), compose)

    return [web.post("/upload/image", upload_image), web.post("/upload/mask", upload_mask)]


def _upload(folders: Folders, post: Any, save: Save) -> web.Response:
    kind = post.get("type", "input")
    root = folders.kind(kind)
    if root is None:
        raise ValueError(f"no folder of type {kind}")
    image = post.get("image")
    if not image:
        return web.Response(status=400)
    if not image.file or not image.filename:
        return web.Response(status=400)
    subfolder = post.get("subfolder", "")
    folder = root / os.path.normpath(subfolder)
    try:
        path = within(root, folder / image.filename)
    except Outside:
        return web.Response(status=400)
    folder.mkdir(parents=True, exist_ok=True)
    if post.get("overwrite") in ("true", "1"):
        name, known = image.filename, False
    else:
        name, path, known = _free_name(folder, image, path)
    if not known:
        save(image, post, path)
    return web.json_response({"name": name, "subfolder": subfolder, "type": kind})


def _free_name(folder: Path, image: web.FileField, path: Path) -> tuple[str, Path, bool]:
    """The name itself, or with ` (1)`, ` (2)`…; True when a file of that name has these very bytes already."""
    stem, extension = os.path.splitext(image.filename)
    name, count = image.filename, 0
    data = image.file.read()
    image.file.seek(0)
    while path.exists():
        if path.read_bytes() == data:
            return name, path, True
        count += 1
        name = f"{stem} ({count}){extension}"
        path = folder / name
    return name, path, False


def _write(image: web.FileField, _: Any, path: Path) -> None:
    path.write_bytes(image.file.read())


def _compose(folders: Folders, image: web.FileField, original: Any, path: Path) -> None:
    """Writes the original with the mask's alpha. When there is no such original, nothing is written and nobody told."""
    name, folder = folders.annotated(original["filename"])
    if not name or name.startswith("/") or ".." in name:
        return
    folder = folder or folders.kind(original.get("type", "output"))
    if folder is None:
        return
    try:
        source = within(folder, original.get("subfolder", "")) / name
    except Outside:
        return
    if not source.is_file():
        return
    with Image.open(source) as opened:
        texts = PngInfo()
        for key, text in getattr(opened, "text", {}).items():
            texts.add_text(key, text)
        picture = opened.convert("RGBA")
        with Image.open(image.file) as mask:
            picture.putalpha(mask.convert("RGBA").getchannel("A"))
        picture.save(path, compress_level=4, pnginfo=texts)
