from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.workflow import Choice, Demand, input_files, output_nodes, read
from tests.domain.catalogues import RECORDINGS, classes, info, node, recorded

NODES = recorded().nodes


def test_the_needs_of_a_recorded_text_to_image_graph() -> None:
    graph = {
        "4": node("CheckpointLoaderSimple", ckpt_name="sd_xl_base_1.0.safetensors"),
        "5": node("KSampler", model=["4", 0], sampler_name="euler", scheduler="karras", seed=1, denoise=1.0),
        "6": node("CLIPTextEncode", text="a cat.safetensors", clip=["4", 1]),
        "7": node("SaveImage", images=["5", 0], filename_prefix="x.ckpt"),
    }
    demand = read(graph, NODES)
    assert demand == Demand(
        classes=frozenset({"CheckpointLoaderSimple", "KSampler", "CLIPTextEncode", "SaveImage"}),
        choices=frozenset(
            {
                Choice("CheckpointLoaderSimple", "ckpt_name", "sd_xl_base_1.0.safetensors"),
                Choice("KSampler", "sampler_name", "euler"),
                Choice("KSampler", "scheduler", "karras"),
            }
        ),
        models=frozenset({"sd_xl_base_1.0.safetensors"}),
    )
    assert hash(demand) == hash(read(json.loads(json.dumps(graph)), NODES))
    assert output_nodes(graph, NODES) == ("7",)


def test_a_probe_model_is_a_model() -> None:
    graph = {"1": node("ProbeModel", image=["0", 0], model="a.safetensors", load_seconds=1)}
    assert read(graph, NODES).models == {"a.safetensors"}


@pytest.mark.parametrize(
    "name", ["x.SafeTensors", "sub/x.ckpt", "x.pt", "x.pth", "x.bin", "x.gguf", "x.onnx", "x.sft", "sub\\x.safetensors"]
)
def test_model_names(name: str) -> None:
    nodes = classes(Loader=info({"file": [["other"]]}))
    assert read({"1": node("Loader", file=name)}, nodes).models == {name}


def test_a_class_that_nobody_has_is_demanded_and_its_models_are_seen() -> None:
    demand = read({"1": node("Nobody", file="x.gguf", text="hello")}, NODES)
    assert demand == Demand(frozenset({"Nobody"}), frozenset(), frozenset({"x.gguf"}))


def test_a_stack_of_loras_that_only_the_browser_knows() -> None:
    nodes = classes(Stack=info({"model": ["MODEL"]}))
    graph = {
        "1": node(
            "Stack",
            model=["2", 0],
            lora_1={"on": True, "lora": "a.safetensors", "strength": 1},
            lora_2={"on": False, "lora": "b.safetensors", "strength": 1},
        )
    }
    assert read(graph, nodes).models == {"a.safetensors"}


@pytest.mark.parametrize(
    ("raw", "value", "chosen"),
    [
        ([["a", "b"]], "a", {"a"}),
        ([["a", "b"]], "no such", {"no such"}),
        (["COMBO", {"options": ["a"]}], "a", {"a"}),
        (["COMBO", {"options": ["a", "b"], "multiselect": True}], {"__value__": ["a", "b"]}, {"a", "b"}),
        ([["a"]], {"__value__": "a"}, {"a"}),
        ([["a"]], ["2", 0], set()),
        ([[1, 2]], 1, set()),
        ([["a"]], {"x": "a"}, set()),
        ([["a"]], None, set()),
        (["STRING", {}], "a", set()),
        (["COMBO", {}], "a", set()),
        (["COMBO", {"options": [], "remote": {"route": "/x"}}], "a", set()),
        ([["a"], {"image_upload": True}], "a", set()),
    ],
)
def test_choices(raw: Any, value: Any, chosen: set[str]) -> None:
    demand = read({"1": node("N", x=value)}, classes(N=info({"x": raw})))
    assert demand.choices == {Choice("N", "x", one) for one in chosen}


def test_choices_inside_a_dynamic_combo() -> None:
    options = [{"key": "k", "inputs": {"required": {"model": [["m.pth"]]}}}]
    nodes = classes(N=info({"x": ["COMFY_DYNAMICCOMBO_V3", {"options": options}]}))
    demand = read({"1": node("N", **{"x": "k", "x.model": "m.pth"})}, nodes)
    assert demand.choices == {Choice("N", "x.model", "m.pth")}
    assert demand.models == {"m.pth"}


def test_the_files_of_a_graph() -> None:
    nodes = {**NODES, **classes(Batch=info({"images": [["a.png"], {"image_upload": True}]}))}
    graph = {
        "1": node("LoadImage", image="sub/a.png"),
        "2": node("LoadImageMask", image="b.png [output]", channel="alpha"),
        "3": node("LoadImage", image=["9", 0]),
        "4": node("LoadLatent", latent="c.latent"),
        "5": node("Unheard", path="d.mp4 [temp]", text="several\nlines [input]", other="e.png"),
        "6": node("Batch", images={"__value__": ["f.png", "g.png"]}),
        "7": node("Load3D", model_file="none", image={"image": "threed/h.png [temp]", "width": 3}, width=1, height=1),
        "8": node("LoadAudio", audio=""),
    }
    assert input_files(graph, nodes) == {
        "sub/a.png", "b.png [output]", "d.mp4 [temp]", "f.png", "g.png", "threed/h.png [temp]",
    } | ({"c.latent"} if "LoadLatent" in nodes else set())  # fmt: skip


def test_a_latent_is_a_file_though_no_flag_says_so() -> None:
    nodes = classes(LoadLatent=info({"latent": [["c.latent"]]}))
    graph = {"1": node("LoadLatent", latent="c.latent")}
    assert input_files(graph, nodes) == {"c.latent"}
    assert read(graph, nodes).choices == frozenset()


@settings(deadline=None)
@given(
    st.dictionaries(
        st.text(max_size=3),
        st.none()
        | st.integers()
        | st.fixed_dictionaries(
            {"class_type": st.sampled_from(["LoadImage", "KSampler", "Nope", "SaveImage"])},
            optional={
                "inputs": st.none()
                | st.lists(st.integers())
                | st.dictionaries(
                    st.sampled_from(["image", "sampler_name", "steps"]),
                    st.none()
                    | st.booleans()
                    | st.text(max_size=5)
                    | st.dictionaries(st.text(max_size=3), st.text(max_size=3)),
                )
            },
        ),
        max_size=5,
    )
)
def test_any_graph_can_be_read(graph: dict[str, Any]) -> None:
    named = {n["class_type"] for n in graph.values() if isinstance(n, dict)}
    demand = read(graph, NODES)
    assert demand.classes == named
    assert not input_files(graph, NODES) & {choice.value for choice in demand.choices if choice.input == "image"}
    assert set(output_nodes(graph, NODES)) <= set(graph)
    assert all(choice.node_class in named for choice in demand.choices)


def test_all_recorded_prompts_are_readable() -> None:
    seen = 0
    for path in RECORDINGS.glob("*.json"):
        found = json.loads(path.read_text())
        for entry in found if isinstance(found, list) else []:
            body = entry.get("http", {}).get("json") if isinstance(entry, dict) else None
            if isinstance(body, dict) and isinstance(body.get("prompt"), dict) and body["prompt"]:
                seen += 1
                named = {n["class_type"] for n in body["prompt"].values() if "class_type" in n}
                assert read(body["prompt"], NODES).classes == named
    assert seen > 10
