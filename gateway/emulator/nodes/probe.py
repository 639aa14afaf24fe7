"""The probe nodes, whose time, failure and model the prompt chooses, and one that enqueues a prompt itself."""

from __future__ import annotations

import copy
import uuid
from typing import Any

from PIL import Image

from gateway.emulator.nodes.base import Behaviour, Context, Result, Stopped
from gateway.emulator.vram import OutOfMemory


def sleep(context: Context, _: dict[str, Any], inputs: dict[str, Any]) -> Result:
    steps, seed = inputs["steps"], inputs["seed"]
    for step in range(steps):
        context.check_interrupt()
        context.wait(inputs["seconds"] / steps)
        color = (step * 255 // steps, 0, seed % 255)
        context.step(step + 1, steps, Image.new("RGB", (64, 64), color) if inputs["preview"] else None)
    return Result((inputs["image"],))


def model(context: Context, _: dict[str, Any], inputs: dict[str, Any]) -> Result:
    """Holds one model, whatever /free says, as the real probe does; here it takes VRAM as well."""
    held, wanted = context.worker.probe_model, inputs["model"]
    if held != wanted:
        if held is not None:
            context.worker.vram.drop(held)
        context.wait(inputs["load_seconds"])
        context.worker.probe_model = wanted
    context.worker.vram.use(wanted, "probe")
    return Result((inputs["image"],))


def fail(context: Context, _: dict[str, Any], inputs: dict[str, Any]) -> Result:
    if inputs["how"] == "exit":
        context.worker.die(137)
        raise Stopped
    if inputs["how"] == "oom":
        raise OutOfMemory("Allocation on device 0 would exceed allowed memory.")
    raise RuntimeError("probe failure")


def broadcast(context: Context, _: dict[str, Any], inputs: dict[str, Any]) -> Result:
    context.worker.hub.post("probe-event", {"node": inputs["unique_id"], "text": inputs["text"]})
    return Result(ui={"text": [inputs["text"]]})


def requeue(context: Context, _: dict[str, Any], inputs: dict[str, Any]) -> Result:
    """Puts the same prompt in the queue again, `times` less one, as batch managers do: own id, copied extra_data."""
    if inputs["times"] > 0:
        graph = copy.deepcopy(context.graph)
        graph[context.node_id]["inputs"]["times"] = inputs["times"] - 1
        context.worker.enqueue_from_node(str(uuid.uuid4()), graph, copy.deepcopy(context.extra))
    return Result(ui={"times": [inputs["times"]]})


BEHAVIOURS = {
    "ProbeSleep": Behaviour(sleep),
    "ProbeModel": Behaviour(model, lambda _worker, _inputs: None),
    "ProbeFail": Behaviour(fail),
    "ProbeBroadcast": Behaviour(broadcast),
    "ProbeRequeue": Behaviour(requeue),
}
