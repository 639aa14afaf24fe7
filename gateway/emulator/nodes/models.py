"""Nodes whose models are only simulated: they take their time and VRAM, and give pictures that depend on the seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gateway.emulator.nodes.base import Behaviour, Context, Result, Run
from gateway.emulator.pictures import Latent, Pictures, blend_seed, paint

STEP_SECONDS = 0.05
"""One sampling step of a picture of one megapixel."""


@dataclass(frozen=True, slots=True)
class Model:
    """Stands for MODEL, CLIP, VAE, CONTROL_NET ...: which files it is made of."""

    files: tuple[tuple[str, str], ...]
    """(file name, model folder) of each, the base first."""

    def bring(self, context: Context) -> None:
        for name, folder in self.files:
            context.use_model(name, folder)


@dataclass(frozen=True, slots=True)
class Conditioning:
    """A prompt text and whatever was applied to it; its content is all that counts."""

    content: tuple[Any, ...]


def loader(folder: str, outputs: int, *inputs: str) -> Run:
    """A loader of the files that these inputs name."""

    def run(context: Context, _: dict[str, Any], given: dict[str, Any]) -> Result:
        loaded = Model(tuple((given[name], folder) for name in inputs))
        loaded.bring(context)
        return Result((loaded,) * outputs)

    return run


def vae_loader(context: Context, _: dict[str, Any], inputs: dict[str, Any]) -> Result:
    name = inputs["vae_name"]
    loaded = Model(() if name == "pixel_space" else ((name, "vae"),))
    loaded.bring(context)
    return Result((loaded,))


def lora(context: Context, _: dict[str, Any], inputs: dict[str, Any]) -> Result:
    file = (inputs["lora_name"], "loras")
    context.use_model(*file, seconds=0.1)
    return Result(tuple(Model((*inputs[name].files, file)) for name in ("model", "clip")))


def encode_text(_: Context, __: dict[str, Any], inputs: dict[str, Any]) -> Result:
    return Result((Conditioning((inputs["text"], inputs["clip"].files)),))


def encode_vision(context: Context, _: dict[str, Any], inputs: dict[str, Any]) -> Result:
    inputs["clip_vision"].bring(context)
    return Result((Conditioning(("vision", _content(inputs["image"]))),))


def condition(_: Context, __: dict[str, Any], inputs: dict[str, Any]) -> Result:
    """Any node that changes a conditioning: the result is made of all that it was given."""
    parts = ((name, _content(value)) for name, value in sorted(inputs.items()) if name != "conditioning")
    return Result((Conditioning((inputs["conditioning"].content, tuple(parts))),))


def apply_control(context: Context, instance: dict[str, Any], inputs: dict[str, Any]) -> Result:
    inputs["control_net"].bring(context)
    return condition(context, instance, inputs)


def empty_latent(_: Context, __: dict[str, Any], inputs: dict[str, Any]) -> Result:
    return Result((Latent(inputs["width"], inputs["height"], inputs["batch_size"]),))


def sample(context: Context, _: dict[str, Any], inputs: dict[str, Any]) -> Result:
    inputs["model"].bring(context)
    latent: Latent = inputs["latent_image"]
    known = ("seed", "steps", "cfg", "sampler_name", "scheduler", "denoise")
    words = [inputs[name].content for name in ("positive", "negative")]
    seed = blend_seed([inputs[name] for name in known], words, inputs["model"].files, latent.seed)
    steps, pixels = inputs["steps"], latent.width * latent.height * latent.batch
    for step in range(steps):
        context.wait(STEP_SECONDS * pixels / 1024**2)
        shown = paint(64, 64, seed + steps - step) if context.worker.settings.preview else None
        context.step(step + 1, steps, shown)
    return Result((Latent(latent.width, latent.height, latent.batch, seed),))


def decode(context: Context, _: dict[str, Any], inputs: dict[str, Any]) -> Result:
    inputs["vae"].bring(context)
    context.wait(2 * STEP_SECONDS)
    latent: Latent = inputs["samples"]
    if latent.base is not None:
        return Result((latent.base,))
    painted = (paint(latent.width, latent.height, latent.seed + index) for index in range(latent.batch))
    return Result((Pictures(tuple(painted)),))


def encode(context: Context, _: dict[str, Any], inputs: dict[str, Any]) -> Result:
    inputs["vae"].bring(context)
    context.wait(2 * STEP_SECONDS)
    pixels: Pictures = inputs["pixels"]
    return Result((Latent(pixels.width, pixels.height, len(pixels.images), _content(pixels), pixels),))


def _content(value: Any) -> Any:
    """Something small that differs when the value does."""
    if isinstance(value, Pictures):
        return blend_seed([image.resize((16, 16)).tobytes() for image in value.images])
    if isinstance(value, Conditioning):
        return value.content
    return value.files if isinstance(value, Model) else value


BEHAVIOURS = {
    "CheckpointLoaderSimple": Behaviour(loader("checkpoints", 3, "ckpt_name")),
    "UNETLoader": Behaviour(loader("diffusion_models", 1, "unet_name")),
    "CLIPLoader": Behaviour(loader("text_encoders", 1, "clip_name")),
    "DualCLIPLoader": Behaviour(loader("text_encoders", 1, "clip_name1", "clip_name2")),
    "CLIPVisionLoader": Behaviour(loader("clip_vision", 1, "clip_name")),
    "ControlNetLoader": Behaviour(loader("controlnet", 1, "control_net_name")),
    "UpscaleModelLoader": Behaviour(loader("upscale_models", 1, "model_name")),
    "VAELoader": Behaviour(vae_loader),
    "LoraLoader": Behaviour(lora),
    "CLIPTextEncode": Behaviour(encode_text),
    "CLIPVisionEncode": Behaviour(encode_vision),
    "ConditioningZeroOut": Behaviour(condition),
    "unCLIPConditioning": Behaviour(condition),
    "ControlNetApply": Behaviour(apply_control),
    "EmptyLatentImage": Behaviour(empty_latent),
    "KSampler": Behaviour(sample),
    "VAEDecode": Behaviour(decode),
    "VAEEncode": Behaviour(encode),
}
