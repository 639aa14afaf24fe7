"""How a node class declares one input, read from the two spellings of /object_info."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

Option = str | int | float | bool
Need = Literal["required", "optional", "hidden"]

COMBO = "COMBO"
DYNAMIC_COMBO = "COMFY_DYNAMICCOMBO_V3"
AUTOGROW = "COMFY_AUTOGROW_V3"
DYNAMIC_SLOT = "COMFY_DYNAMICSLOT_V3"
_DYNAMIC = frozenset({DYNAMIC_COMBO, AUTOGROW, DYNAMIC_SLOT})
_NO_CONFIG: Mapping[str, Any] = MappingProxyType({})

# Inputs that name files though no flag in /object_info says so.
_FILE_INPUTS = frozenset(
    {
        ("LoadLatent", "latent"),
        ("VHS_LoadVideo", "video"),
        ("VHS_LoadVideoFFmpeg", "video"),
        ("VHS_LoadAudioUpload", "audio"),
    }
)


@dataclass(frozen=True, slots=True, eq=False)
class InputSpec:
    """One input of a node class."""

    name: str
    need: Need
    declared: Any
    """First part of the declaration as the worker wrote it: a type's name, or the list of a combo's options."""
    config: Mapping[str, Any]
    """Second part; empty when there is none."""
    type: str
    """The type's name, COMBO for both spellings of a combo."""
    options: tuple[Option, ...] | None
    """A combo's; None for all else, and where the browser fetches them."""
    choices: frozenset[Option]
    upload: bool
    """The value names a file in the worker's folders."""
    remote: bool
    """The browser fetches the options, so that /object_info does not tell them."""

    @property
    def dynamic(self) -> bool:
        return self.type in _DYNAMIC

    @property
    def multiselect(self) -> bool:
        return bool(self.config.get("multiselect"))

    def offers(self, value: object) -> bool:
        """Whether a combo has it; lists and objects never are options that a prompt can choose."""
        try:
            return value in self.choices
        except TypeError:
            return self.options is not None and value in self.options

    def declaration(self) -> list[Any]:
        """`[type, config]`, as error bodies show it."""
        return [self.declared, dict(self.config)]


def read_inputs(node_class: str, declared: object) -> dict[str, InputSpec]:
    """Reads `input` of an entry: required, optional and hidden ones by name; the first of a name counts."""
    specs: dict[str, InputSpec] = {}
    if isinstance(declared, dict):
        for need, name, raw in _declarations(declared):
            if name not in specs:
                specs[name] = read_input(node_class, name, need, raw)
    return specs


def _declarations(declared: Mapping[str, Any]) -> Iterator[tuple[Need, str, Any]]:
    needs: tuple[Need, ...] = ("required", "optional", "hidden")
    for need in needs:
        group = declared.get(need)
        if isinstance(group, dict):
            for name, raw in group.items():
                yield need, name, raw


def read_input(node_class: str, name: str, need: Need, raw: object) -> InputSpec:
    """`raw` is `[type or options, config?]`; hidden inputs are a bare name, and what is malformed counts as one."""
    parts: list[Any] = raw if isinstance(raw, list) else [raw]
    declared = parts[0] if parts else None
    config = parts[1] if len(parts) > 1 and isinstance(parts[1], dict) else _NO_CONFIG
    remote = bool(config.get("remote") or config.get("remote_combo"))
    options: tuple[Option, ...] | None = None
    if isinstance(declared, list):
        options = tuple(declared)
    elif declared == COMBO and isinstance(config.get("options"), list):
        options = tuple(config["options"])
    return InputSpec(
        name=name,
        need=need,
        declared=declared,
        config=config,
        type=COMBO if isinstance(declared, list) else str(declared),
        options=options,
        choices=_hashable(options or ()),
        upload=_names_file(config) or (node_class, name) in _FILE_INPUTS,
        remote=remote,
    )


def _names_file(config: Mapping[str, Any]) -> bool:
    """Contract 5.5: image_upload, audio_upload, video_upload, file_upload, animated_image_upload, image_folder."""
    return any(value and (key.endswith("_upload") or key == "image_folder") for key, value in config.items())


def _hashable(options: tuple[Option, ...]) -> frozenset[Option]:
    try:
        return frozenset(options)
    except TypeError:
        return frozenset(option for option in options if not isinstance(option, list | dict))
