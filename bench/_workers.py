"""Workers that cost next to nothing, many in one process: `python -m bench._workers COUNT` prints where they are.

A prompt takes the `seconds` of its ProbeSleep node, or no time. As ComfyUI does, they tell the end first and put the
record away a moment later.
"""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from itertools import count
from typing import Any

import uvloop
from aiohttp import web

from tests.scripted import Scripted, shipped_nodes

_PUT_AWAY = 0.005
_RECORDS = 200
_NODES = json.dumps(shipped_nodes()).encode()


class Worker(Scripted):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._numbers = count()

    def take(self, body: dict[str, Any]) -> str:
        id = str(body.get("prompt_id") or uuid.uuid4())
        extra_data = {**body.get("extra_data", {}), "client_id": body.get("client_id")}
        self.pending[id] = [next(self._numbers), id, body["prompt"], extra_data, sorted(body["prompt"])[-1:]]
        self._say_status()
        asyncio.get_running_loop().call_soon(self._advance)
        return id

    def _advance(self) -> None:
        if self.running or not self.pending:
            return
        id, item = next(iter(self.pending.items()))
        self.running[id] = self.pending.pop(id)
        self._say(item[3]["client_id"], "execution_start", {"prompt_id": id, "timestamp": 1})
        seconds = max((node["inputs"].get("seconds", 0.0) for node in item[2].values()), default=0.0)
        asyncio.get_running_loop().call_later(seconds, self._over, id)

    def _over(self, id: str) -> None:
        if id in self.running:
            told = {"prompt_id": id, "timestamp": 1}
            self._say(self.running[id][3]["client_id"], "execution_success", told)
            asyncio.get_running_loop().call_later(_PUT_AWAY, self._put_away, id, told)

    def _put_away(self, id: str, told: dict[str, Any]) -> None:
        item = self.running.pop(id, None)
        if item is None:
            return
        status = {"status_str": "success", "completed": True, "messages": [["execution_success", told]]}
        self.history[id] = {"prompt": item, "outputs": {}, "status": status, "meta": {}}
        if len(self.history) > _RECORDS:
            del self.history[next(iter(self.history))]
        self._say_status()
        self._say(item[3]["client_id"], "executing", {"node": None, "prompt_id": id})
        self._advance()

    async def _asked(self, _: web.Request) -> web.Response:
        return web.json_response({"asked": sum(self.requests.values())})

    def _app(self) -> web.Application:
        app = super()._app()
        app.router.add_get("/asked", self._asked)
        return app

    async def _object_info(self, _: web.Request) -> web.Response:
        return web.Response(body=_NODES, content_type="application/json")


async def main(number: int) -> None:
    workers = [Worker(f"w{each}") for each in range(number)]
    for worker in workers:
        await worker.open()
    print("workers at", *(worker.url for worker in workers), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
