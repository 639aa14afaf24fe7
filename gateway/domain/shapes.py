"""A prompt's `Work`: what decides how long it runs, read from its graph.

Prompts of one shape are the same workflow with other seeds, texts and files: steps × pixels × frames × batch count as
one number, the large models by their names, other numbers where their names say that they cost time; numbers in steps
of a quarter octave. What is only another strength or colour is the same shape.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.domain.catalogue import NodeClass
from gateway.domain.dynamic import inputs_of
from gateway.domain.inputs import InputSpec
from gateway.domain.models import models_in, weighs
from gateway.domain.placement.estimates import Model, Work

MAX_PARTS = 500
"""A graph with more nodes than this is not looked for in the caches of workers."""

_SEEDS = frozenset({"seed", "noise_seed", "rand_seed"})
_STEPS = frozenset({"steps", "start_at_step", "end_at_step"})
_SIDES = frozenset({"width", "height"})
_FRAMES = frozenset({"length", "frames", "num_frames", "video_frames", "frame_load_cap"})
_BATCH = frozenset({"batch_size", "amount"})
_SIZES = _STEPS | _SIDES | _FRAMES | _BATCH
_COSTLY = re.compile(
    r"second|scale|factor|count|size|num|iter|resol|pixel|frame|tile|step|duration|denoise|length|amount|repeat|times"
)
"""Names of numbers on which the time may depend; `cfg` does when it is 1, for then half of the work is left out."""
_MEGAPIXEL = 2.0**20
_PER_OCTAVE = 4


@dataclass(frozen=True, slots=True)
class _Input:
    name: str
    spec: InputSpec | None
    value: Any

    @property
    def link(self) -> str | None:
        """The id of the node that it comes from."""
        return _source(self.value)


@dataclass(frozen=True, slots=True)
class _Node:
    node_class: str
    inputs: tuple[_Input, ...]


def work_of(
    graph: Mapping[str, Any],
    nodes: Mapping[str, NodeClass],
    outputs: Collection[str],
    *,
    changing: Collection[str] = (),
    salt: str = "",
) -> Work:
    """`outputs` are the ids of the output nodes that are to run. Nodes of the classes in `changing` never have the
    same result twice: `salt`, which is the prompt's own, makes them and what depends on them unlike any other."""
    ids = needed(graph, outputs)
    read = {id: _Node(str(graph[id]["class_type"]), tuple(_inputs(graph[id], nodes))) for id in ids}
    models = frozenset(model for node in read.values() for model in _models(node))
    order = _order(read)
    forms = _hashes(read, order, lambda node: [[each.name, _token(each)] for each in node.inputs])
    size = _size(read.values())
    large = sorted(model.name for model in models if weighs(model))
    return Work(
        shape=_hash([_bucket(size), large, [forms[id] for id in ids]]),
        nodes=_hash(sorted(node.node_class for node in read.values())),
        models=models,
        parts=_parts(read, order, ids, changing, salt) if len(ids) <= MAX_PARTS else (),
        size=size,
    )


def _source(value: object) -> str | None:
    is_link = isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int)
    return str(value[0]) if is_link else None  # type: ignore[index]


def needed(graph: Mapping[str, Any], outputs: Collection[str]) -> list[str]:
    """The ids of what these outputs depend on, sorted; of all nodes when no output is known."""
    found: set[str] = set()
    ahead = [id for id in outputs or graph if isinstance(graph.get(id), dict) and "class_type" in graph[id]]
    while ahead:
        id = ahead.pop()
        if id in found:
            continue
        found.add(id)
        inputs = graph[id].get("inputs")
        sources = map(_source, inputs.values()) if isinstance(inputs, dict) else ()
        ahead += [
            each for each in sources if each and isinstance(graph.get(each), dict) and "class_type" in graph[each]
        ]
    return sorted(found)


def _inputs(node: Mapping[str, Any], nodes: Mapping[str, NodeClass]) -> Iterator[_Input]:
    given = node.get("inputs")
    if not isinstance(given, dict):
        return
    known = nodes.get(str(node["class_type"]))
    specs = inputs_of(known, given) if known is not None else {}
    for name in sorted(given):
        value = given[name]
        if isinstance(value, dict) and "__value__" in value:
            value = value["__value__"]
            value = tuple(value) if isinstance(value, list) else value  # for it is no link
        yield _Input(name, specs.get(name), value)


def _models(node: _Node) -> Iterator[Model]:
    for each in node.inputs:
        if each.link is None:
            value = list(each.value) if isinstance(each.value, tuple) else each.value
            yield from models_in(node.node_class, each.name, each.spec, value)


def _order(read: Mapping[str, _Node]) -> list[str]:
    """The ids, each after what it depends on; in a cycle, which no worker takes, somewhere."""
    done: dict[str, None] = {}
    entered: set[str] = set()
    for root in read:
        stack = [root]
        while stack:
            id = stack[-1]
            if id in entered:
                stack.pop()
                done.setdefault(id)
                continue
            entered.add(id)
            sources = (each.link for each in read[id].inputs)
            stack += [each for each in sources if each is not None and each in read and each not in entered]
    return list(done)


def _hashes(read: Mapping[str, _Node], order: list[str], tokens: Any) -> dict[str, str]:
    """For each node a hash of what `tokens` says of it and of the hashes of what it depends on."""
    found: dict[str, str] = {}
    for id in order:
        node = read[id]
        links = [[each.name, found.get(each.link, ""), each.value[1]] for each in node.inputs if each.link is not None]
        found[id] = _hash([node.node_class, tokens(node), links])
    return found


def _parts(
    read: Mapping[str, _Node], order: list[str], ids: list[str], changing: Collection[str], salt: str
) -> tuple[str, ...]:
    def tokens(node: _Node) -> list[Any]:
        given = [[each.name, each.value] for each in node.inputs if each.link is None]
        return [given, salt] if node.node_class in changing else given

    exact = _hashes(read, order, tokens)
    return tuple(exact[id] for id in ids)


def _token(each: _Input) -> Any:
    """What of an input belongs to the shape."""
    value, spec = each.value, each.spec
    if each.link is not None or each.name in _SEEDS or each.name in _SIZES:
        return None
    if spec is not None and spec.config.get("control_after_generate"):
        return None
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return value == 1 if each.name == "cfg" else _bucket(value) if _COSTLY.search(each.name.lower()) else None
    if isinstance(value, str) and spec is not None and spec.options is not None and not spec.upload:
        return None if models_in("", each.name, spec, value) else value
    return type(value).__name__


def _bucket(value: float) -> Any:
    """Numbers within a tenth of each other are mostly one."""
    if not value or not math.isfinite(value):
        return str(value)
    return [value < 0, round(_PER_OCTAVE * math.log2(min(abs(value), 2.0**1000)))]


def _size(read: Collection[_Node]) -> float:
    """Steps × megapixels × frames × batch."""
    steps = sum(_steps(node) for node in read)
    pixels = max((_product(node, _SIDES) for node in read if set(_numbers(node)) >= _SIDES), default=_MEGAPIXEL)
    frames = max((_product(node, _FRAMES) for node in read), default=1.0)
    batch = max((_product(node, _BATCH) for node in read), default=1.0)
    return max(1.0, steps) * pixels / _MEGAPIXEL * frames * batch


def _steps(node: _Node) -> float:
    numbers = _numbers(node)
    if "steps" not in numbers:
        return 0.0
    last = min(numbers["steps"], numbers.get("end_at_step", numbers["steps"]))
    return max(1.0, last - numbers.get("start_at_step", 0.0))


def _product(node: _Node, names: frozenset[str]) -> float:
    return math.prod(max(1.0, number) for name, number in _numbers(node).items() if name in names)


def _numbers(node: _Node) -> dict[str, float]:
    """The sizes that are written in it."""
    return {
        each.name: min(max(0.0, float(each.value)), 1e6)
        for each in node.inputs
        if each.name in _SIZES and isinstance(each.value, int | float) and not isinstance(each.value, bool)
    }


def _hash(content: Any) -> str:
    return hashlib.blake2b(json.dumps(content, default=str).encode(), digest_size=6).hexdigest()
