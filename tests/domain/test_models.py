from __future__ import annotations

import pytest

from gateway.domain.models import GIB, folder_of, models_in, weighs
from gateway.domain.placement import Model
from tests.domain.catalogues import classes, info, recorded


@pytest.mark.parametrize(
    ("node_class", "name", "folder"),
    [
        ("CheckpointLoaderSimple", "ckpt_name", "checkpoints"),
        ("Efficient Loader", "ckpt_name", "checkpoints"),
        ("UNETLoader", "unet_name", "diffusion_models"),
        ("UnetLoaderGGUF", "unet_name", "diffusion_models"),
        ("DiffusionModelLoaderKJ", "model_name", "diffusion_models"),
        ("CLIPLoader", "clip_name", "text_encoders"),
        ("TripleCLIPLoader", "clip_name3", "text_encoders"),
        ("LTXAVTextEncoderLoader", "text_encoder", "text_encoders"),
        ("CLIPVisionLoader", "clip_name", "clip_vision"),
        ("VAELoader", "vae_name", "vae"),
        ("ControlNetLoader", "control_net_name", "controlnet"),
        ("ControlNetLoaderAdvanced", "name", "controlnet"),
        ("UpscaleModelLoader", "model_name", "upscale_models"),
        ("LoraLoader", "lora_name", "loras"),
        ("Power Lora Loader (rgthree)", "lora_1", "loras"),
        ("StyleModelLoader", "style_model_name", "style_models"),
        ("ProbeModel", "model", ""),
    ],
)
def test_the_folder_that_a_loader_chooses_from(node_class: str, name: str, folder: str) -> None:
    assert folder_of(node_class, name) == folder


def test_a_model_is_what_a_combo_chose() -> None:
    node = recorded().nodes["ProbeModel"]
    (model,) = models_in("ProbeModel", "model", node.inputs["model"], "a.safetensors")
    assert model == Model("a.safetensors", 2 * GIB)
    assert weighs(model)


def test_what_names_no_model() -> None:
    nodes = classes(
        L=info({"image": [["a.png", "b.pt"], {"image_upload": True}], "mode": [["fast"]], "text": ["STRING"]})
    )
    inputs = nodes["L"].inputs
    assert models_in("L", "image", inputs["image"], "b.pt") == []
    assert models_in("L", "mode", inputs["mode"], "fast") == []
    assert models_in("L", "text", inputs["text"], "b.safetensors") == []


def test_a_stack_of_loras_that_only_the_browser_knows() -> None:
    on = models_in("Power Lora Loader", "lora_1", None, {"on": True, "lora": "x.safetensors", "strength": 1})
    assert [(model.name, weighs(model)) for model in on] == [("x.safetensors", False)]
    assert models_in("Power Lora Loader", "lora_1", None, {"on": False, "lora": "x.safetensors"}) == []
