"""The `outputs` of a history record, as GET /api/jobs counts and shows them (ComfyUI's comfy_execution/jobs.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_SHOWN = frozenset({"images", "video", "audio", "3d", "text"})
_SHAPES = (".obj", ".fbx", ".gltf", ".glb", ".usdz")
_TEXTS = (".txt", ".md", ".json")
_TEXT_KEPT = 1024


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that a node put out: a file, or a text that only serves as a preview."""

    node_id: str
    kind: str
    file: Mapping[str, Any] | None
    text: str = ""

    @property
    def name(self) -> str:
        return str((self.file or {}).get("filename") or "").lower()

    @property
    def previewable(self) -> bool:
        if self.file is None:
            return False
        form = str(self.file.get("format") or "")
        return self.kind in _SHOWN or form.startswith(("video/", "audio/")) or self.name.endswith(_SHAPES + _TEXTS)

    @property
    def rank(self) -> int:
        """How well it stands for the whole: saved media, other media, a saved text, a bare text."""
        if self.file is None:
            return 3
        if self.kind == "text" or self.name.endswith(_TEXTS):
            return 2
        return 0 if self.file.get("type") == "output" else 1


def items_of(outputs: Mapping[str, Any]) -> list[Item]:
    """Everything listed by any node, in order; `animated` is a flag and no output."""
    found: list[Item] = []
    for node_id, kinds in outputs.items():
        for kind, items in kinds.items() if isinstance(kinds, dict) else ():
            if kind != "animated" and isinstance(items, list):
                found += [item for raw in items if (item := _item(node_id, kind, raw)) is not None]
    return found


def count(items: Sequence[Item]) -> int:
    return sum(1 for item in items if item.file is not None)


def count_previewable(items: Sequence[Item]) -> int:
    return sum(1 for item in items if item.previewable)


def preview(items: Sequence[Item]) -> dict[str, Any] | None:
    """The one that the list of jobs shows."""
    shown = [item for item in items if item.file is None or item.previewable]
    if not shown:
        return None
    best = min(shown, key=lambda item: item.rank)
    if best.file is not None:
        return {**best.file, "nodeId": best.node_id, "mediaType": best.file.get("mediaType", best.kind)}
    cut: dict[str, Any] = {"content": best.text[:_TEXT_KEPT]}
    if len(best.text) > _TEXT_KEPT:
        cut["truncated"] = True
    return {**cut, "nodeId": best.node_id, "mediaType": best.kind}


def normalised(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Outputs with 3D path strings as file objects and without nulls."""
    return {node_id: _normalised(kinds) if isinstance(kinds, dict) else kinds for node_id, kinds in outputs.items()}


def _normalised(kinds: Mapping[str, Any]) -> dict[str, Any]:
    whole = {kind: items for kind, items in kinds.items() if kind == "animated" or not isinstance(items, list)}
    lists = {
        kind: [_shape(i) or i for i in items if i is not None] for kind, items in kinds.items() if kind not in whole
    }
    return {kind: whole.get(kind, lists.get(kind)) for kind in kinds}


def _item(node_id: str, kind: str, raw: Any) -> Item | None:
    if isinstance(raw, dict):
        return Item(node_id, kind, raw)
    if (shape := _shape(raw)) is not None:
        return Item(node_id, kind, shape)
    return Item(node_id, kind, None, str(raw)) if kind == "text" and raw is not None else None


def _shape(raw: Any) -> dict[str, Any] | None:
    if isinstance(raw, str) and raw.lower().endswith(_SHAPES):
        return {"filename": raw, "type": "output", "subfolder": "", "mediaType": "3d"}
    return None
