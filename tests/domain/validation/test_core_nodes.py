from __future__ import annotations

from typing import Any

import pytest

from gateway.domain.validation import Generation, Invalid, Valid, validate
from tests.domain.catalogues import classes, info, node, recorded

OLD, NEW = Generation.OLD, Generation.NEW
UPLOAD = {"image_upload": True}
NODES = {
    **recorded().nodes,
    **classes(
        LoadLatent=info({"latent": [["l.latent"]]}, gives=["LATENT"]),
        LoadImageSetNode=info({"images": [["a.png"], UPLOAD]}, {"resize_method": [["None", "Pad"]]}, gives=["IMAGE"]),
        KlingCameraControls=info(
            {name: ["FLOAT", {"min": -10, "max": 10}] for name in
             ("horizontal_movement", "vertical_movement", "pan", "tilt", "roll", "zoom")}, gives=["C"],
        ),
        TripoConversionNode=info({"original_model_task_id": ["MODEL_TASK_ID,RIG_TASK_ID"]}, output_node=True),
        CustomCombo=info({"choice": ["COMBO", {"options": []}]}, gives=["STRING"]),
        ComfySoftSwitchNode=info({"switch": ["BOOLEAN"]}, {"on_false": ["*"], "on_true": ["*"]}, gives=["*"]),
        SelectModelDevice=info({"device": ["COMBO", {"options": ["default"]}]}, gives=["MODEL"]),
        Unlisted=info({"image": [["known.png"], UPLOAD], "clip": [["c"], {"video_upload": True}]}, gives=["IMAGE"]),
        UnlistedFile=info({"mesh": [["m.glb"], {"file_upload": True}]}, gives=["MESH"]),
    ),
}  # fmt: skip


def faults(tested: Any, files: tuple[str, ...] = (), generation: Generation = OLD) -> list[tuple[str, str]]:
    """Type and details of each error of a node, looked at through an output that needs it."""
    graph = {"n": tested, "other": node("EmptyImage", width=1, height=1, batch_size=1, color=0)}
    graph["end"] = node("PreviewAny", source=["n", 0])
    verdict = validate(graph, NODES, has_file=lambda name: name in files, generation=generation)
    if isinstance(verdict, Valid):
        return []
    assert isinstance(verdict, Invalid)
    return [(error["type"], error["details"]) for error in verdict.node_errors["n"]["errors"]]


def failed(details: str) -> list[tuple[str, str]]:
    return [("custom_validation_failed", details)]


@pytest.mark.parametrize("generation", Generation)
@pytest.mark.parametrize(
    ("tested", "name", "details"),
    [
        (node("LoadImage", image="x.png"), "x.png", "image - Invalid image file: x.png"),
        (node("LoadImage", image="x.png [output]"), "x.png [output]", "image - Invalid image file: x.png [output]"),
        (node("LoadImageMask", image="x.png", channel="red"), "x.png", "image - Invalid image file: x.png"),
        (node("LoadImageOutput", image="x.png"), "x.png", "image - Invalid image file: x.png"),
        (node("LoadAudio", audio="x.wav"), "x.wav", "audio - Invalid audio file: x.wav"),
        (node("LoadVideo", file="x.mp4"), "x.mp4", "file - Invalid video file: x.mp4"),
        (node("LoadLatent", latent="x.latent"), "x.latent", "latent - Invalid latent file: x.latent"),
    ],
)
def test_files_are_looked_for_and_no_list(tested: Any, name: str, details: str, generation: Generation) -> None:
    assert faults(tested, (name,), generation) == []
    assert faults(tested, (), generation) == failed(details)


def test_a_listed_name_that_is_gone_is_refused() -> None:
    assert faults(node("LoadImage", image="rec.png")) == failed("image - Invalid image file: rec.png")


def test_the_other_inputs_of_such_a_node_are_checked_as_ever() -> None:
    assert faults(node("LoadImageMask", image="x.png", channel="pink"), ("x.png",)) == [
        ("value_not_in_list", "channel: 'pink' not in ['alpha', 'red', 'green', 'blue']")
    ]


@pytest.mark.parametrize(
    ("tested", "text"),
    [
        (node("LoadImage"), "LoadImage.VALIDATE_INPUTS() missing 1 required positional argument: 'image'"),
        (node("LoadImage", image=5), "'int' object has no attribute 'endswith'"),
        (node("LoadImage", image=None), "'NoneType' object has no attribute 'endswith'"),
        (
            node("LoadImageSetNode"),
            "LoadImageSetNode.VALIDATE_INPUTS() missing 2 required positional arguments: 'images' and 'resize_method'",
        ),
    ],
)
def test_what_a_validator_chokes_on(tested: Any, text: str) -> None:
    assert faults(tested) == [("exception_during_inner_validation", text)]


def test_a_linked_name_is_none_to_a_validator() -> None:
    linked = node("LoadAudio", audio=["other", 0])
    assert faults(linked) == [("exception_during_inner_validation", "'NoneType' object has no attribute 'endswith'")]


def test_a_set_of_images() -> None:
    images = {"__value__": ["a.png", "b.png"]}
    assert faults(node("LoadImageSetNode", images=images, resize_method="None"), ("a.png", "b.png")) == []
    assert faults(node("LoadImageSetNode", images=images, resize_method="None"), ("a.png",)) == [
        ("custom_validation_failed", "images - Invalid image file: b.png"),
        ("custom_validation_failed", "resize_method - Invalid image file: b.png"),
    ]


def load_3d(model_file: str) -> Any:
    return node("Load3D", model_file=model_file, image={"image": "x.png [temp]"}, width=0, height=1)


def test_load_3d_got_a_validator_later() -> None:
    assert [kind for kind, _ in faults(load_3d("x.glb"))] == ["value_not_in_list", "value_smaller_than_min"]
    assert faults(load_3d("x.glb"), ("x.glb",), NEW) == []
    assert faults(load_3d("none"), (), NEW) == []
    assert ("custom_validation_failed", "model_file - Invalid 3D model file: x.glb") in faults(
        load_3d("x.glb"), (), NEW
    )


def test_camera_moves() -> None:
    still = dict.fromkeys(NODES["KlingCameraControls"].inputs, 0)
    assert faults(node("KlingCameraControls", **{**still, "zoom": 50})) == []
    assert len(faults(node("KlingCameraControls", **still))) == 6


def test_nodes_that_take_what_no_list_has() -> None:
    assert faults(node("CustomCombo", choice="mine"), (), NEW) == []
    assert faults(node("SelectModelDevice", device="gpu:7"), (), NEW) == []
    assert faults(node("ComfySoftSwitchNode", switch=True, on_true=["other", 0]), (), NEW) == []
    neither = "switch - At least one of on_false or on_true must be connected to Switch node"
    assert faults(node("ComfySoftSwitchNode", switch=True), (), NEW) == failed(neither)


def test_a_node_that_judges_the_types_of_its_links() -> None:
    source = node("EmptyImage", width=1, height=1, batch_size=1, color=0)
    graph = {"1": source, "2": node("TripoConversionNode", original_model_task_id=["1", 0])}
    assert isinstance(validate(graph, NODES), Valid)


def test_a_class_that_is_not_listed_is_taken_to_check_its_files() -> None:
    assert faults(node("Unlisted", image="known.png", clip="c")) == [], "what a worker lists is there"
    assert faults(node("Unlisted", image="new.png", clip="v.mp4"), ("new.png", "v.mp4")) == []
    assert faults(node("Unlisted", image="gone.png", clip="c")) == failed("image - Invalid image file: gone.png")
    assert faults(node("Unlisted", image="known.png", clip="w")) == failed("clip - Invalid video file: w")
    assert faults(node("UnlistedFile", mesh="w")) == failed("mesh - Invalid input file: w")
    assert faults(node("UnlistedFile", mesh=5)) == [("value_not_in_list", "mesh: '5' not in ['m.glb']")]


def test_without_an_index_every_file_is_there() -> None:
    graph = {"1": node("LoadImage", image="any.png"), "2": node("PreviewImage", images=["1", 0])}
    assert isinstance(validate(graph, NODES), Valid)
