"""What one worker can run: its GET /object_info, parsed and shared between workers that answer alike."""

from __future__ import annotations

import hashlib
import json
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from gateway.domain.demand import Choice, Demand
from gateway.domain.errors import BadRequest
from gateway.domain.inputs import InputSpec, read_inputs


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class NodeClass:
    """One node class; two of the same content in one pool are one object."""

    name: str
    info: Mapping[str, Any]
    """The entry of /object_info, never to be changed."""
    inputs: Mapping[str, InputSpec]
    """Required, then optional, then hidden ones, each in the order of the worker."""
    outputs: tuple[Any, ...]
    """A type's name each, or the list of options where a node hands on a combo."""
    output_node: bool
    dynamic: bool
    """Some inputs are declared by what the prompt gives to others (`gateway.domain.dynamic`)."""

    @property
    def display_name(self) -> str:
        return str(self.info.get("display_name") or self.name)

    @property
    def core(self) -> bool:
        """Comes with ComfyUI itself, so that what it does beyond /object_info is known."""
        module = str(self.info.get("python_module", ""))
        return module == "nodes" or module.startswith(("comfy_extras.", "comfy_api_nodes."))


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Catalogue:
    nodes: Mapping[str, NodeClass]
    classes: frozenset[str]
    digest: str
    """Hash of the body, the same in every replica: catalogues of one digest are interchangeable."""

    def lacks(self, demand: Demand) -> str | None:
        """Why this worker cannot run it, in one short sentence that names what is missing; None when it can."""
        if not demand.classes <= self.classes:
            return f"node class {min(demand.classes - self.classes)} is not installed"
        missing = [choice for choice in demand.choices if not self._offers(choice)]
        if not missing:
            return None
        first = min(missing)
        return f"{first.node_class}.{first.input} has no {first.value!r}"

    def _offers(self, choice: Choice) -> bool:
        node = self.nodes.get(choice.node_class)
        if node is None:
            return False
        spec = node.inputs.get(choice.input)
        if spec is None:
            # A nested input of a dynamic one stands under no name of its own here.
            return node.dynamic
        return spec.options is None or spec.remote or spec.offers(choice.value)


class Pool:
    """Keeps one object for each content, for as long as some catalogue uses it and no longer.

    Content that differs only as 1 and 1.0 do may count as the same.
    """

    def __init__(self) -> None:
        self._catalogues: weakref.WeakValueDictionary[str, Catalogue] = weakref.WeakValueDictionary()
        self._nodes: weakref.WeakValueDictionary[tuple[str, str], NodeClass] = weakref.WeakValueDictionary()
        self._latest: weakref.WeakValueDictionary[str, NodeClass] = weakref.WeakValueDictionary()

    def in_use(self) -> int:
        """How many node classes it holds."""
        return len(self._nodes)

    def catalogue(self, digest: str) -> Catalogue | None:
        return self._catalogues.get(digest)

    def keep(self, catalogue: Catalogue) -> None:
        self._catalogues[catalogue.digest] = catalogue

    def node(self, name: str, info: Mapping[str, Any]) -> NodeClass:
        latest = self._latest.get(name)
        # Most workers describe most classes alike, and to compare is far cheaper than to hash.
        if latest is not None and latest.info == info:
            return latest
        key = (name, _hash(json.dumps(info).encode()))
        known = self._nodes.get(key)
        if known is None:
            known = self._nodes[key] = read_node(name, info)
        self._latest[name] = known
        return known


def parse(raw: bytes, pool: Pool) -> Catalogue:
    """Reads a body of GET /object_info.

    NaN is taken, and an entry that is no object is left out, as ComfyUI leaves out a node that cannot describe
    itself. Raises BadRequest for a body that is no JSON object.
    """
    digest = _hash(raw)
    known = pool.catalogue(digest)
    if known is not None:
        return known
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"object_info is not JSON: {error}", field="object_info") from error
    if not isinstance(found, dict):
        raise BadRequest("object_info is not a JSON object", field="object_info")
    nodes = {name: pool.node(name, info) for name, info in found.items() if isinstance(info, dict)}
    catalogue = Catalogue(MappingProxyType(nodes), frozenset(nodes), digest)
    pool.keep(catalogue)
    return catalogue


def read_node(name: str, info: Mapping[str, Any]) -> NodeClass:
    """Reads one entry of /object_info; what is malformed in it counts as absent."""
    inputs = read_inputs(name, info.get("input"))
    outputs = info.get("output")
    return NodeClass(
        name=name,
        info=info,
        inputs=MappingProxyType(inputs),
        outputs=tuple(outputs) if isinstance(outputs, list) else (),
        output_node=info.get("output_node") is True,
        dynamic=any(spec.dynamic for spec in inputs.values()),
    )


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
