"""Frames for tests: the recorded ones, and strategies for those that nobody has seen yet."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from gateway.domain.frames import Kind

RECORDINGS = Path(__file__).parents[1] / "recordings"
JPEG = b"\xff\xd8\xff\xe0"
PNG = b"\x89PNG\r\n\x1a\n"
EVENTS = [kind.value for kind in Kind]


def with_metadata(metadata: Any, image: bytes) -> bytes:
    told = json.dumps(metadata).encode()
    return struct.pack(">II", 4, len(told)) + told + image


def recorded(name: str) -> Iterator[tuple[dict[str, Any], str | bytes]]:
    """Each frame of a recording, written again as it was on the wire; of pictures only the head is kept."""
    for entry in json.loads((RECORDINGS / f"{name}.json").read_text()):
        if "text" in entry:
            yield entry, json.dumps(entry["text"])
        elif "binary_type" in entry:
            head = base64.b64decode(entry["head_b64"])
            frame = with_metadata(entry["metadata"], JPEG) if "metadata" in entry else head
            assert frame.startswith(head)
            yield entry, frame.ljust(entry["bytes"], b"\0")


def damaged(raw: str | bytes, at: float, gone: int, put: bytes) -> str | bytes:
    start = int(at * len(raw))
    if isinstance(raw, str):
        return raw[:start] + put.decode("latin-1") + raw[start + gone :]
    return raw[:start] + put + raw[start + gone :]


scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.sampled_from(EVENTS))
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8
)
keys = st.one_of(st.text(), st.sampled_from(["prompt_id", "node", "node_id", "nodes", "exception_type"]))
events = st.fixed_dictionaries(
    {"type": st.sampled_from(EVENTS) | scalars, "data": st.dictionaries(keys, values, max_size=5) | values}
)
words = st.integers(0, 5) | st.integers(0, 2**32 - 1)
pictures = st.sampled_from([JPEG, PNG, b""])
binaries = st.one_of(
    st.binary(),
    st.builds(lambda type, rest: struct.pack(">I", type) + rest, words, st.binary()),
    st.builds(lambda type, next, rest: struct.pack(">II", type, next) + rest, words, words, st.binary()),
    st.builds(with_metadata, st.dictionaries(keys, values), pictures),
)
real = [raw for name in ("success", "two_listeners", "failing") for _, raw in recorded(name)]
broken = st.builds(damaged, st.sampled_from(real), st.floats(0, 1), st.integers(0, 40), st.binary(max_size=8))
frames = st.one_of(st.text(), events.map(json.dumps), binaries, broken)
