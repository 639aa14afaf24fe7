from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.catalogue import Pool, parse
from gateway.domain.placement import Work
from gateway.domain.shapes import MAX_PARTS, needed, work_of
from tests.domain.catalogues import RECORDINGS, node, recorded
from tests.scripted import shipped_nodes

NODES = parse(json.dumps(shipped_nodes()).encode(), Pool()).nodes
SEED_PROMPT = json.loads((Path(__file__).parents[1] / "seed_prompt.json").read_text())["prompt"]


def text_to_image(**changes: Any) -> dict[str, Any]:
    """A picture of 1024 × 1024 in 20 steps; `n5_seed=7` sets input `seed` of node 5."""
    graph = {
        "1": node("CheckpointLoaderSimple", ckpt_name="sd_xl_base_1.0.safetensors"),
        "2": node("CLIPTextEncode", text="a cat", clip=["1", 1]),
        "3": node("CLIPTextEncode", text="", clip=["1", 1]),
        "4": node("EmptyLatentImage", width=1024, height=1024, batch_size=1),
        "5": node(
            "KSampler",
            model=["1", 0],
            positive=["2", 0],
            negative=["3", 0],
            latent_image=["4", 0],
            seed=1,
            steps=20,
            cfg=7.0,
            sampler_name="euler",
            scheduler="karras",
            denoise=1.0,
        ),
        "6": node("VAEDecode", samples=["5", 0], vae=["1", 2]),
        "7": node("SaveImage", images=["6", 0], filename_prefix="x"),
    }
    for change, value in changes.items():
        id, name = change[1:].split("_", 1)
        graph[id]["inputs"][name] = value
    return graph


def read(graph: dict[str, Any], outputs: tuple[str, ...] = ("7",), **more: Any) -> Work:
    return work_of(graph, NODES, outputs, **more)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"n5_seed": 2**63}, True),
        ({"n2_text": "a dog, 4k"}, True),
        ({"n7_filename_prefix": "other"}, True),
        ({"n5_cfg": 3}, True),
        ({"n5_cfg": 1.0}, False),
        ({"n5_steps": 19}, True),
        ({"n4_width": 1000}, True),
        ({"n4_width": 2048, "n4_height": 512}, True),
        ({"n5_steps": 40}, False),
        ({"n4_width": 512}, False),
        ({"n4_batch_size": 4}, False),
        ({"n5_denoise": 0.5}, False),
        ({"n5_sampler_name": "heun"}, False),
        ({"n1_ckpt_name": "v1-5-pruned-emaonly-fp16.safetensors"}, False),
        ({"n5_positive": ["3", 0]}, False),
    ],
    ids=str,
)
def test_what_makes_another_shape(change: dict[str, Any], same: bool) -> None:
    assert (read(text_to_image(**change)).shape == read(text_to_image()).shape) == same


def test_equal_node_sets_and_sizes() -> None:
    one, other = read(text_to_image()), read(text_to_image(n5_steps=40, n4_batch_size=2, n5_cfg=1))
    assert one.nodes == other.nodes
    assert (one.size, other.size) == (20.0, 80.0)
    more = text_to_image()
    more["8"] = node("PreviewImage", images=["6", 0])
    assert read(more, ("7", "8")).nodes != one.nodes


@pytest.mark.parametrize(
    ("inputs", "steps"),
    [
        ({"steps": 30, "start_at_step": 0, "end_at_step": 10_000}, 30),
        ({"steps": 30, "start_at_step": 20, "end_at_step": 10_000}, 10),
        ({"steps": 30, "start_at_step": 0, "end_at_step": 25}, 25),
        ({"steps": 30, "start_at_step": 40}, 1),
        ({"steps": float("nan")}, 1),
        ({"steps": True}, 1),
    ],
    ids=str,
)
def test_steps_that_really_run(inputs: dict[str, Any], steps: float) -> None:
    assert work_of({"1": node("KSamplerAdvanced", **inputs)}, NODES, ()).size == steps


def test_videos_are_as_large_as_their_frames() -> None:
    graph = {"1": node("EmptyHunyuanLatentVideo", width=1024, height=1024, length=49, batch_size=2)}
    assert work_of(graph, NODES, ()).size == 98


def test_parts_are_equal_as_far_as_nothing_before_them_changed() -> None:
    base = read(text_to_image())
    assert len(base.parts) == 7

    def kept(**changes: Any) -> str:
        parts = read(text_to_image(**changes)).parts
        return "".join(id for id, one, other in zip("1234567", base.parts, parts, strict=True) if one == other)

    assert kept() == "1234567"
    assert kept(n5_seed=2) == "1234"
    assert kept(n2_text="a dog") == "134"
    assert kept(n4_width=512) == "123"
    assert kept(n7_filename_prefix="y") == "123456"
    assert kept(n1_ckpt_name="other.safetensors") == "4"


def test_what_always_changes_is_like_no_other() -> None:
    changing = {"VAEDecode"}
    one, two = (read(text_to_image(), changing=changing, salt=salt) for salt in ("p-1", "p-2"))
    assert [left == right for left, right in zip(one.parts, two.parts, strict=True)] == [True] * 5 + [False] * 2
    assert one.shape == two.shape == read(text_to_image()).shape


def test_only_what_an_output_needs_counts() -> None:
    graph = text_to_image()
    graph["9"] = node("CheckpointLoaderSimple", ckpt_name="unused.safetensors")
    assert read(graph) == read(text_to_image())
    assert needed(graph, ("6",)) == ["1", "2", "3", "4", "5", "6"]
    assert needed(graph, ()) == sorted(graph)
    assert needed(graph, ("404",)) == []


def test_the_example_that_the_project_was_given() -> None:
    work = work_of(SEED_PROMPT, NODES, ("9", "45", "48"))
    assert {model.name for model in work.models} == {
        "sd_xl_base_1.0.safetensors",
        "clip_vision_g.safetensors",
        "control-lora-depth-rank256.safetensors",
    }
    assert work.size == 26 * 0.75
    again = copy.deepcopy(SEED_PROMPT)
    again["3"]["inputs"]["seed"] += 1
    again["34"]["inputs"]["image"] = "another.png"
    assert work_of(again, NODES, ("9", "45", "48")).shape == work.shape


@pytest.mark.parametrize("name", ["success", "failing", "interrupting", "queueing"])
def test_recorded_graphs(name: str) -> None:
    entries = json.loads((RECORDINGS / f"{name}.json").read_text())
    bodies = [entry["http"].get("json") for entry in entries if entry.get("http", {}).get("path") == "/prompt"]
    graphs = [body["prompt"] for body in bodies if body and "prompt" in body]
    assert graphs
    for graph in graphs:
        work = work_of(graph, recorded().nodes, ())
        assert work.shape
        assert len(work.parts) == len(graph)
        assert {model.name for model in work.models} == {
            node["inputs"]["model"] for node in graph.values() if node["class_type"] == "ProbeModel"
        }


def test_a_cycle_and_a_huge_graph_are_read() -> None:
    assert read({"7": node("A", x=["8", 0]), "8": node("B", x=["7", 0])}).shape
    chain = {str(at): node("ImageInvert", image=[str(at - 1), 0]) for at in range(3 * MAX_PARTS)}
    work = read(chain, (str(3 * MAX_PARTS - 1),))
    assert work.parts == ()
    assert work.shape


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
_NAMES = st.sampled_from(["seed", "steps", "width", "height", "length", "batch_size", "model", "ckpt_name", "x"])
_GRAPHS = st.dictionaries(
    st.sampled_from("12345"),
    st.fixed_dictionaries(
        {"class_type": st.sampled_from([*list(NODES)[:50], "Nobody"])},
        optional={"inputs": st.dictionaries(_NAMES, _JSON | st.tuples(st.sampled_from("12345"), st.just(0)).map(list))},
    ),
)


@settings(max_examples=40, deadline=None)
@given(_GRAPHS, st.lists(st.sampled_from("123456")))
def test_any_graph_is_read_and_alike_every_time(graph: dict[str, Any], outputs: list[str]) -> None:
    work = work_of(graph, NODES, outputs)
    assert work == work_of(json.loads(json.dumps(graph)), NODES, outputs)
    assert len(work.parts) == len(needed(graph, outputs))
    assert 0 < work.size < float("inf")
