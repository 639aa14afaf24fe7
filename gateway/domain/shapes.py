"""A prompt's `Work`: what decides how long it runs, read from its graph.

Prompts of one shape are the same workflow with other seeds, texts and files: steps × pixels × frames × batch count as
one number, the large models by their names, other numbers where their names say that they cost time; numbers in steps
of a quarter octave. What is only another strength or colour is the same shape.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

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
_FORM, _EXACT = 2, 3  # of a _Node


class _Node(NamedTuple):
    """What one pass over a node's inputs finds; hashes of what it depends on come later."""

    node_class: str
    sources: list[tuple[str, str, Any]]
    """(input, id of the node that it comes from, output there)"""
    form: list[Any]
    exact: list[Any]
    numbers: dict[str, float]
    models: list[Model]


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
    read = {id: _read(graph[id], nodes) for id in ids}
    for node in read.values():
        if node.node_class in changing:
            node.exact.append(salt)
    models = frozenset(model for node in read.values() for model in node.models)
    order = _order(read)
    forms = _hashes(read, order, _FORM)
    parts = _hashes(read, order, _EXACT) if len(ids) <= MAX_PARTS else {}
    size = _size([node for node in read.values() if node.numbers])
    large = sorted(model.name for model in models if weighs(model))
    return Work(
        shape=_hash((_bucket(size), large, [forms[id] for id in ids])),
        nodes=_hash(sorted(node.node_class for node in read.values())),
        models=models,
        parts=tuple(parts[id] for id in ids) if parts else (),
        size=size,
    )


def _source(value: object) -> str | None:
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int):
        return str(value[0])
    return None


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


def _read(node: Mapping[str, Any], nodes: Mapping[str, NodeClass]) -> _Node:
    found = _Node(str(node["class_type"]), [], [], [], {}, [])
    given = node.get("inputs")
    if not isinstance(given, dict):
        return found
    known = nodes.get(found.node_class)
    specs = inputs_of(known, given) if known is not None else {}
    for name in sorted(given):
        value, spec = given[name], specs.get(name)
        if (source := _source(value)) is not None:
            found.sources.append((name, source, value[1]))
            continue
        if isinstance(value, dict) and "__value__" in value:
            value = value["__value__"]
        found.exact.append((name, value))
        models = models_in(found.node_class, name, spec, value) if isinstance(value, str | list | dict) else []
        found.models.extend(models)
        found.form.append((name, _token(name, spec, value, is_model=bool(models))))
        if name in _SIZES and isinstance(value, int | float) and not isinstance(value, bool):
            found.numbers[name] = min(max(0.0, float(value)), 1e6)
    return found


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
            stack += [source for _, source, _ in read[id].sources if source in read and source not in entered]
    return list(done)


def _hashes(read: Mapping[str, _Node], order: list[str], what: int) -> dict[str, str]:
    """For each node a hash of this field of it, and of the hashes of what it depends on."""
    found: dict[str, str] = {}
    for id in order:
        node = read[id]
        links = [(name, found.get(source, ""), slot) for name, source, slot in node.sources]
        found[id] = _hash((node.node_class, node[what], links))
    return found


def _token(name: str, spec: InputSpec | None, value: Any, *, is_model: bool) -> Any:
    """What of an input belongs to the shape."""
    if name in _SEEDS or name in _SIZES or is_model:
        return None
    if spec is not None and spec.config.get("control_after_generate"):
        return None
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return value == 1 if name == "cfg" else _bucket(value) if _COSTLY.search(name.lower()) else None
    if isinstance(value, str) and spec is not None and spec.options is not None and not spec.upload:
        return value
    return type(value).__name__


def _bucket(value: float) -> Any:
    """Numbers within a tenth of each other are mostly one."""
    if not value or not math.isfinite(value):
        return str(value)
    return [value < 0, round(_PER_OCTAVE * math.log2(min(abs(value), 2.0**1000)))]


def _size(read: Collection[_Node]) -> float:
    """Steps × megapixels × frames × batch."""
    steps = sum(_steps(node) for node in read)
    pixels = max((_product(node, _SIDES) for node in read if node.numbers.keys() >= _SIDES), default=_MEGAPIXEL)
    frames = max((_product(node, _FRAMES) for node in read), default=1.0)
    batch = max((_product(node, _BATCH) for node in read), default=1.0)
    return max(1.0, steps) * pixels / _MEGAPIXEL * frames * batch


def _steps(node: _Node) -> float:
    numbers = node.numbers
    if "steps" not in numbers:
        return 0.0
    last = min(numbers["steps"], numbers.get("end_at_step", numbers["steps"]))
    return max(1.0, last - numbers.get("start_at_step", 0.0))


def _product(node: _Node, names: frozenset[str]) -> float:
    return math.prod(max(1.0, number) for name, number in node.numbers.items() if name in names)


def _hash(content: Any) -> str:
    return hashlib.blake2b(repr(content).encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
