"""Catalogues for tests: the recorded one, and small ones of the test's own making."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.domain.catalogue import Catalogue, NodeClass, Pool, parse

RECORDINGS = Path(__file__).parents[1] / "recordings"


def recorded(pool: Pool | None = None) -> Catalogue:
    return parse((RECORDINGS / "object_info_subset.json").read_bytes(), pool or Pool())


def catalogue(infos: Mapping[str, Any], pool: Pool | None = None) -> Catalogue:
    return parse(json.dumps(infos).encode(), pool or Pool())


def info(
    required: Mapping[str, Any] | None = None,
    optional: Mapping[str, Any] | None = None,
    *,
    gives: list[Any] | None = None,
    output_node: bool = False,
    module: str = "custom_nodes.pack",
) -> dict[str, Any]:
    return {
        "input": {"required": required or {}, "optional": optional or {}},
        "output": gives or [],
        "output_node": output_node,
        "python_module": module,
    }


def classes(**infos: Any) -> Mapping[str, NodeClass]:
    return catalogue(infos).nodes


def node(node_class: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": node_class, "inputs": inputs}


# The classes that most graphs of these tests are made of.
SOURCE = info({"size": ["INT", {"min": 1, "max": 100}]}, gives=["IMAGE"])
PASS = info({"image": ["IMAGE"]}, gives=["IMAGE"])
SINK = info({"images": ["IMAGE"]}, output_node=True)
BASE = {"Source": SOURCE, "Pass": PASS, "Sink": SINK}
