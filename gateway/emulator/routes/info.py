"""What this worker is and has: its machine, its node classes, its models."""

from __future__ import annotations

import sys
from typing import Any

from aiohttp import web

from gateway.emulator.hub import server_flags
from gateway.emulator.vram import GIB, SIZES_GIB
from gateway.emulator.worker import Worker

RAM = 64 * 1024**3


def routes(worker: Worker) -> list[web.RouteDef]:
    listing = worker.listing

    def answer(tell: Any) -> Any:
        async def handler(_: web.Request) -> web.Response:
            return web.json_response(tell())

        return handler

    async def object_info(request: web.Request) -> web.Response:
        name, known = request.match_info["node_class"], listing.object_info()
        return web.json_response({name: known[name]} if name in known else {})

    async def models(request: web.Request) -> web.Response:
        folder = request.match_info["folder"]
        return web.json_response(listing.models(folder)) if folder in listing.folders else web.Response(status=404)

    async def files(request: web.Request) -> web.Response:
        folder = request.match_info["folder"]
        if folder not in listing.folders:
            return web.Response(status=404)
        return web.json_response([_model_file(name, folder) for name in listing.models(folder)])

    async def preview(_: web.Request) -> web.Response:
        return web.Response(status=404)

    async def metadata(request: web.Request) -> web.Response:
        folder, name = request.match_info["folder"], request.query.get("filename", "")
        if not name.endswith(".safetensors") or name not in listing.models(folder):
            return web.Response(status=404)
        return web.json_response({"modelspec.title": name.removesuffix(".safetensors"), "format": "pt"})

    return [
        web.get("/system_stats", answer(lambda: system_stats(worker))),
        web.get("/features", answer(lambda: server_flags(worker.settings))),
        web.get("/object_info", answer(listing.object_info)),
        web.get("/object_info/{node_class}", object_info),
        web.get("/embeddings", answer(lambda: [name.rpartition(".")[0] for name in listing.models("embeddings")])),
        web.get("/extensions", answer(lambda: ["/extensions/core/emulator.js"])),
        web.get("/models", answer(lambda: listing.folders)),
        web.get("/models/{folder}", models),
        web.get("/experiment/models", answer(lambda: _folders(worker))),
        web.get("/experiment/models/{folder}", files),
        web.get("/experiment/models/preview/{folder}/{path_index}/{filename:.*}", preview),
        web.get("/view_metadata/{folder}", metadata),
        web.get("/i18n", answer(dict)),
        web.get("/workflow_templates", answer(dict)),
        *(
            [web.get(path, answer(dict)) for path in ("/global_subgraphs", "/node_replacements")]
            if worker.settings.is_new
            else ()
        ),
    ]


def system_stats(worker: Worker) -> dict[str, Any]:
    settings, vram = worker.settings, worker.vram
    used = vram.used
    system: dict[str, Any] = {
        "os": "linux" if settings.is_new else "posix",
        "ram_total": RAM,
        "ram_free": RAM - used,
        "comfyui_version": settings.comfyui,
        "required_frontend_version": "1.58.1" if settings.is_new else "1.27.10",
        "installed_templates_version": None,
        "required_templates_version": "0.1.95",
    }
    if settings.is_new:
        system["comfy_package_versions"] = []
    system |= {"python_version": sys.version, "pytorch_version": "2.13.0+cu130", "embedded_python": False}
    if settings.is_new:
        system["deploy_environment"] = "local-git"
    device = {
        "name": f"cuda:0 Emulated GPU {settings.name} : cudaMallocAsync",
        "type": "cuda",
        "index": 0,
        "vram_total": vram.total,
        "vram_free": vram.total - used,
        "torch_vram_total": used,
        "torch_vram_free": 0,
    }
    return {"system": {**system, "argv": ["main.py"]}, "devices": [device]}


def _folders(worker: Worker) -> list[dict[str, Any]]:
    names = [name for name in worker.listing.folders if name not in ("configs", "custom_nodes")]
    more = {"extensions": [".safetensors"]} if worker.settings.is_new else {}
    return [{"name": name, "folders": [str(worker.folders.root / "models" / name)], **more} for name in names]


def _model_file(name: str, folder: str) -> dict[str, Any]:
    size = int(SIZES_GIB.get(folder, 0.0) * GIB)
    return {"name": name, "pathIndex": 0, "modified": 0.0, "created": 0.0, "size": size}
