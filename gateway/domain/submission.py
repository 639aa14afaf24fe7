"""The body of POST /prompt, read as ComfyUI 0.3.64 reads it, without what would crash or wedge a worker.

Route POST /prompt of ComfyUI's server.py and the recordings in invalid.json and ids.json; the poison is contract 2.5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from gateway.domain.errors import BrokenBody, PromptRefused
from gateway.domain.ids import ClientId, PromptId

MAX_ID = 512
MAX_DEPTH = 200
MAX_NODES = 20_000
_KNOWN = frozenset({"prompt", "prompt_id", "client_id", "extra_data", "number", "front", "partial_execution_targets"})


@dataclass(frozen=True, slots=True)
class Submission:
    graph: dict[str, Any]
    """Node id to node, each an object with a class_type, as sent: no value is validated or converted yet."""
    prompt_id: PromptId
    """The client's, else the one that was minted for it."""
    client_id: ClientId | None
    """Whom the events go to: the body's, else the one inside extra_data, as text; None for null and ""."""
    extra_data: dict[str, Any]
    """What one ComfyUI would store: a client_id of the body is in it, in the type it was sent in."""
    number: float | None
    front: bool
    """Wanted, and not overruled by a `number`."""
    targets: tuple[str, ...] | None
    """partial_execution_targets; None for all outputs."""
    rest: dict[str, Any]
    """Further keys of the body, which on-prompt handlers of custom nodes may read."""

    @property
    def wedging_node(self) -> str | None:
        """A node that has no `inputs` object: where no output needs it, ComfyUI takes it, and never ends (2.5)."""
        return next((id for id, node in self.graph.items() if not isinstance(node.get("inputs"), dict)), None)


def parse(body: object, minted: PromptId) -> Submission:
    """`minted` is the prompt_id of a body without one.

    Raises PromptRefused for what gets a reasoned 400, BrokenBody for what ComfyUI answers its bare 500 to.
    """
    fields = _object(body)
    _check_depth(fields)
    number = _number(fields) if "number" in fields else None
    if "prompt" not in fields:
        _no_prompt()
    graph = _graph(fields["prompt"])
    extra_data = _extra_data(fields)
    return Submission(
        graph=graph,
        prompt_id=minted if (given := fields.get("prompt_id")) is None else _prompt_id(given),
        client_id=_client_id(extra_data.get("client_id")),
        extra_data=extra_data,
        number=number,
        front="number" not in fields and bool(fields.get("front")),
        targets=_targets(fields.get("partial_execution_targets"), graph),
        rest={key: value for key, value in fields.items() if key not in _KNOWN},
    )


def _object(body: object) -> dict[str, Any]:
    if isinstance(body, dict):
        return body
    # ComfyUI asks `in` first and subscribes after: a list or a text gets by unless it holds the very word.
    if isinstance(body, list | str) and not any(word in body for word in ("number", "front", "prompt")):
        _no_prompt()
    raise BrokenBody("the body is not a JSON object")


def _no_prompt() -> NoReturn:
    raise PromptRefused("no_prompt", "No prompt provided", details="No prompt provided")


def _refuse(field: str, message: str) -> NoReturn:
    raise PromptRefused("invalid_request", message, details=field, extra_info={"field": field})


def _check_depth(fields: Mapping[str, Any]) -> None:
    level: list[Any] = [fields]
    for _ in range(MAX_DEPTH):
        if not level:
            return
        level = [
            child
            for holder in level
            for child in (holder.values() if isinstance(holder, dict) else holder)
            if isinstance(child, dict | list)
        ]
    if level:
        _refuse("prompt", f"the body is nested deeper than {MAX_DEPTH} levels")


def _number(fields: Mapping[str, Any]) -> float:
    try:
        number = float(fields["number"])
    except (TypeError, ValueError, OverflowError) as error:
        raise BrokenBody(f"number is not a number: {error}", field="number") from error
    if not math.isfinite(number):
        _refuse("number", "number must be finite")
    return number


def _graph(prompt: object) -> dict[str, Any]:
    if prompt in ([], ""):
        return {}
    if not isinstance(prompt, dict):
        raise BrokenBody("prompt is not an object", field="prompt")
    if len(prompt) > MAX_NODES:
        _refuse("prompt", f"prompt has more than {MAX_NODES} nodes")
    for node_id, node in prompt.items():
        _check_node(node_id, node)
    return prompt


def _check_node(node_id: str, node: object) -> None:
    if isinstance(node, dict):
        if isinstance(node.get("class_type"), dict | list):
            raise BrokenBody(f"class_type of node {node_id} is not a text", field=f"prompt.{node_id}.class_type")
    elif isinstance(node, list | str) and "class_type" not in node:
        # The same `in` on a list or a text finds no class_type, and gives the reasoned answer.
        raise PromptRefused(
            "invalid_prompt",
            "Cannot execute because a node is missing the class_type property.",
            details=f"Node ID '#{node_id}'",
        )
    else:
        raise BrokenBody(f"node {node_id} is not an object", field=f"prompt.{node_id}")


def _extra_data(fields: Mapping[str, Any]) -> dict[str, Any]:
    extra_data = fields.get("extra_data", {})
    if not isinstance(extra_data, dict):
        _refuse("extra_data", "extra_data must be an object")
    if "client_id" in fields:
        return {**extra_data, "client_id": fields["client_id"]}
    return dict(extra_data)


def _prompt_id(value: object) -> PromptId:
    text = str(value)
    _check_id("prompt_id", text)
    return PromptId(text)


def _client_id(value: object) -> ClientId | None:
    if value is None or value == "":
        return None
    if isinstance(value, dict | list):
        _refuse("client_id", "client_id must be a string")
    text = str(value)
    _check_id("client_id", text)
    return ClientId(text)


def _check_id(field: str, text: str) -> None:
    if len(text) > MAX_ID:
        _refuse(field, f"{field} is longer than {MAX_ID} characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        _refuse(field, f"{field} is not valid Unicode: it has a lone surrogate")


def _targets(value: object, graph: Mapping[str, Any]) -> tuple[str, ...] | None:
    if value is None:
        return None
    if isinstance(value, list):
        return tuple(target for target in value if isinstance(target, str))
    if isinstance(value, str | dict):
        return tuple(node_id for node_id in graph if node_id in value)
    raise BrokenBody("partial_execution_targets is not a list", field="partial_execution_targets")
