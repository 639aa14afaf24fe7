"""Reads a prompt graph: what it needs of a worker, which files it takes, which nodes give its results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from gateway.domain.catalogue import NodeClass
from gateway.domain.demand import Choice, Demand
from gateway.domain.dynamic import inputs_of
from gateway.domain.files.refs import FileRef, of_value
from gateway.domain.inputs import InputSpec

__all__ = ["Choice", "Demand", "Graph", "input_files", "output_nodes", "read"]

Graph = Mapping[str, Any]

_MODEL_ENDINGS = (
    ".safetensors",
    ".sft",
    ".ckpt",
    ".pt",
    ".pt2",
    ".pth",
    ".bin",
    ".gguf",
    ".onnx",
    ".pkl",
    ".engine",
    ".trt",
)
_FOLDER_NOTES = ("[input]", "[output]", "[temp]")
_MAX_PATH = 4096


class _Literal(NamedTuple):
    node_class: str
    input: str
    spec: InputSpec | None
    value: Any


def read(graph: Graph, nodes: Mapping[str, NodeClass]) -> Demand:
    """`nodes` is the union of all known catalogues; a class that none has is demanded all the same."""
    choices: set[Choice] = set()
    models: set[str] = set()
    for literal in _literals(graph, nodes):
        texts = texts_in(literal.value)
        if literal.spec is None:
            # Widgets that only the browser knows (stacks of LoRAs), and classes that nobody has described.
            models.update(filter(names_model, texts))
        elif literal.spec.options is not None and not (literal.spec.upload or literal.spec.remote):
            chosen = [] if isinstance(literal.value, dict) else texts
            choices.update(Choice(literal.node_class, literal.input, text) for text in chosen)
            models.update(filter(names_model, chosen))
    classes = frozenset(str(node["class_type"]) for _, node in _nodes(graph))
    return Demand(classes, frozenset(choices), frozenset(models))


def input_files(graph: Graph, nodes: Mapping[str, NodeClass]) -> frozenset[str]:
    """Names of the files that the graph reads, as it writes them: `x.png`, `sub/x.png [output]`.

    Values of upload inputs, and any one-line text that ends in a folder note (contract 5.3): whoever stages them
    finds no file for a text that only looks like one.
    """
    found: set[str] = set()
    for literal in _literals(graph, nodes):
        texts = texts_in(literal.value)
        if literal.spec is not None and literal.spec.upload:
            found.update(text for text in texts if text not in ("", "none"))
        else:
            found.update(filter(_is_annotated, texts))
    return frozenset(found)


def files_of(graph: Graph, nodes: Mapping[str, NodeClass]) -> frozenset[FileRef]:
    """The same as files of the farm's folders."""
    return frozenset(ref for name in input_files(graph, nodes) if (ref := of_value(name)) is not None)


def output_nodes(graph: Graph, nodes: Mapping[str, NodeClass]) -> tuple[str, ...]:
    """Ids of the nodes whose class is an output node, in the graph's order."""
    return tuple(
        node_id
        for node_id, node in _nodes(graph)
        if (known := nodes.get(str(node["class_type"]))) is not None and known.output_node
    )


def _nodes(graph: Graph) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for node_id, node in graph.items():
        if isinstance(node, dict) and "class_type" in node:
            yield node_id, node


def _literals(graph: Graph, nodes: Mapping[str, NodeClass]) -> Iterator[_Literal]:
    """Every input that is no link, a list being one unless it is wrapped in `__value__`."""
    for _, node in _nodes(graph):
        inputs = node.get("inputs")
        if not isinstance(inputs, dict):
            continue
        node_class = str(node["class_type"])
        known = nodes.get(node_class)
        specs = inputs_of(known, inputs) if known is not None else {}
        for name, value in inputs.items():
            if isinstance(value, dict) and "__value__" in value:
                yield _Literal(node_class, name, specs.get(name), value["__value__"])
            elif not isinstance(value, list):
                yield _Literal(node_class, name, specs.get(name), value)


def texts_in(value: object) -> list[str]:
    """The texts in a value: itself, those of a list, or those of an object one level deep that is not switched off."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [] if value.get("on") is False else [text for text in value.values() if isinstance(text, str)]
    if isinstance(value, list):
        return [text for text in value if isinstance(text, str)]
    return []


def names_model(text: str) -> bool:
    return text.lower().endswith(_MODEL_ENDINGS) and "\n" not in text


def _is_annotated(text: str) -> bool:
    return text.endswith(_FOLDER_NOTES) and "\n" not in text and len(text) <= _MAX_PATH
