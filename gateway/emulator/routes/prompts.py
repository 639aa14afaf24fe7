"""POST /prompt, and the socket that its events come by."""

from __future__ import annotations

import time
import uuid
from typing import Any

from aiohttp import web

from gateway.domain.validation import Invalid, Valid, validate
from gateway.emulator.queue import SECRETS
from gateway.emulator.routes.bodies import given
from gateway.emulator.worker import Worker

NO_PROMPT = {
    "type": "no_prompt",
    "message": "No prompt provided",
    "details": "No prompt provided",
    "extra_info": {},
}
NO_UUID = {
    "type": "invalid_prompt_id",
    "message": "prompt_id must be a valid UUID",
    "details": "prompt_id must be a UUID string in canonical lowercase hyphenated form; "
    "omit it to let the server generate one",
    "extra_info": {},
}


def routes(worker: Worker) -> list[web.RouteDef]:
    async def socket(request: web.Request) -> web.StreamResponse:
        return await worker.hub.serve(request, worker.welcome)

    async def info(_: web.Request) -> web.Response:
        return web.json_response(worker.queue_info())

    async def post(request: web.Request) -> web.Response:
        return _post(worker, await request.json(), request.headers.get("Comfy-Usage-Source"))

    return [web.get("/ws", socket), web.get("/prompt", info), web.post("/prompt", post)]


def _post(worker: Worker, body: Any, usage_source: str | None) -> web.Response:
    """Checks nothing that ComfyUI does not check: what raises here is a bare 500 there too."""
    if worker.settings.on_prompt_event:
        worker.hub.post("probe-on-prompt", {"keys": sorted(body)})
    number = _number(worker, body)
    if "prompt" not in body:
        return _refused(NO_PROMPT, {})
    prompt_id = _prompt_id(worker, body)
    if prompt_id is None:
        return _refused(NO_UUID, {})
    verdict = _validate(worker, body["prompt"], body.get("partial_execution_targets"))
    extra_data = body.get("extra_data", {})
    if worker.settings.is_new and "comfy_usage_source" not in extra_data and usage_source:
        extra_data["comfy_usage_source"] = usage_source
    if "client_id" in body:
        extra_data["client_id"] = body["client_id"]
    if isinstance(verdict, Invalid):
        return _refused(verdict.error, verdict.node_errors)
    item = (number, prompt_id, verdict.graph, extra_data, list(verdict.outputs))
    worker.queue.put((*item, _take_secrets(extra_data)) if worker.settings.is_new else item)
    return web.json_response({"prompt_id": prompt_id, "number": number, "node_errors": verdict.node_errors})


def _number(worker: Worker, body: Any) -> float:
    """The counter moves on even when the prompt is refused later; an explicit number leaves it alone."""
    if "number" in body:
        return float(body["number"])
    number = worker.next_number()
    return -number if given(body, "front") else number


def _prompt_id(worker: Worker, body: Any) -> str | None:
    """0.3.64 makes a text of anything; 0.38.1 takes canonical UUIDs, else None."""
    if not worker.settings.is_new:
        return str(body.get("prompt_id", uuid.uuid4()))
    wanted = body.get("prompt_id")
    if wanted is None:
        return str(uuid.uuid4())
    return wanted if is_canonical(wanted) else None


def is_canonical(value: object) -> bool:
    try:
        return isinstance(value, str) and str(uuid.UUID(value)) == value
    except ValueError:
        return False


def _validate(worker: Worker, graph: Any, targets: Any) -> Valid | Invalid:
    """Raises TypeError for what is no graph: ComfyUI stumbles over it and answers 500."""
    if isinstance(graph, list) and not graph:
        graph = {}
    if not isinstance(graph, dict):
        raise TypeError("the prompt is no object")
    for node_id, node in graph.items():
        if not isinstance(node, dict | str | list) or (isinstance(node, str | list) and worker.settings.is_new):
            raise TypeError(f"node {node_id} is no object")
        if worker.settings.is_new and isinstance(node, dict) and not isinstance(node.get("inputs", {}), dict):
            raise TypeError(f"the inputs of node {node_id} are no object")
    generation, has_file = worker.settings.generation, worker.folders.has
    return validate(graph, worker.listing.nodes(), targets=targets, has_file=has_file, generation=generation)


def _take_secrets(extra_data: dict[str, Any]) -> dict[str, Any]:
    """0.38.1 keeps them apart from what /queue and /history show, and notes when the prompt came."""
    secrets = {name: extra_data.pop(name) for name in SECRETS if name in extra_data}
    extra_data["create_time"] = int(time.time() * 1000)
    return secrets


def _refused(error: dict[str, Any], node_errors: dict[str, Any]) -> web.Response:
    return web.json_response({"error": error, "node_errors": node_errors}, status=400)
