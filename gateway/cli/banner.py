"""What `gateway serve` says on standard output once it serves: where, what it sees, and a line to try."""

from __future__ import annotations

import asyncio
import json
import shlex
import uuid
from typing import Any

import httpx

from gateway.cli.workers import table

PROMPT: dict[str, dict[str, Any]] = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 512, "height": 512, "batch_size": 1, "color": 16744448},
    },
    "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
    "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "hello"}},
}
"""Needs no model, so that every worker can run it."""

_PATIENCE = 5.0


def reachable(host: str, port: int) -> str:
    """The base URL for this machine; an address that means "all of them" is no address to call."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def lines_to_try(base: str) -> tuple[str, str]:
    """Two shell lines: the first posts a prompt, the second waits for its picture and saves it."""
    prompt_id = str(uuid.uuid4())
    body = json.dumps({"prompt_id": prompt_id, "prompt": PROMPT}, separators=(",", ":"))
    post = f"curl -sw '\\n' {base}/prompt -d {shlex.quote(body)}"
    find = f"f=$(curl -s {base}/history/{prompt_id} | grep -o '[^\"]*\\.png' | head -n 1)"
    wait = f'for i in $(seq 60); do {find}; [ "$f" ] && break; sleep 1; done'
    return post, f'{wait}; curl -s -o hello.png "{base}/view?filename=$f" && ls -l hello.png'


async def banner(base: str, state: str) -> str:
    """The whole text; workers that are still being looked at are waited for a little."""
    post, fetch = lines_to_try(base)
    workers = await _workers(base)
    seen = "\n".join("  " + line for line in table(workers).split("\n")) if workers else "  none yet"
    return (
        f"gateway at {base}\nstate: {state}\nworkers:\n{seen}\n\n"
        f"Try a prompt:\n{post}\n\nand get its picture:\n{fetch}\n"
    )


async def _workers(base: str) -> list[dict[str, Any]]:
    workers: list[dict[str, Any]] = []
    deadline = asyncio.get_running_loop().time() + _PATIENCE
    async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=_PATIENCE) as client:
        while asyncio.get_running_loop().time() < deadline:
            workers = (await client.get("/gateway/workers")).json()["workers"]
            if all(worker["state"] not in ("unknown", "") for worker in workers):
                break
            await asyncio.sleep(0.1)
    return workers
