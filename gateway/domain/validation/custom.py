"""A validator that a node class brings itself: it replaces the range and list checks of the inputs it takes by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.domain.inputs import InputSpec
from gateway.domain.validation.reasons import custom_failed
from gateway.domain.validation.verdict import Reason

HasFile = Callable[[str], bool]
Check = Callable[[Mapping[str, Any], HasFile], bool | str]


def _accept(_given: Mapping[str, Any], _has_file: HasFile) -> bool | str:
    return True


@dataclass(frozen=True, slots=True)
class Validator:
    owner: str
    """Qualified name of the function, which shows in Python's own error texts."""
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    everything: bool = False
    """It takes any keyword, so that no input of the node is checked by range or list."""
    link_types: bool = False
    """It judges the types of links itself."""
    check: Check = _accept

    def covers(self, name: str) -> bool:
        return self.everything or name in self.required or name in self.optional

    def judge(self, inputs: Mapping[str, Any], known: Mapping[str, InputSpec], has_file: HasFile) -> list[Reason]:
        """Raises TypeError and AttributeError where ComfyUI's call of the validator does."""
        given = {name: _given(inputs[name], known[name]) for name in inputs if name in known and self.covers(name)}
        self._check_arguments(given)
        verdict = self.check(given, has_file)
        if verdict is True:
            return []
        return [custom_failed(name, verdict) for name in given]

    def _check_arguments(self, given: Mapping[str, Any]) -> None:
        missing = [f"'{name}'" for name in self.required if name not in given]
        if missing:
            head, last = ", ".join(missing[:-1]), missing[-1]
            names = f"{head}{',' if len(missing) > 2 else ''} and {last}" if head else last
            plural = "s" if len(missing) > 1 else ""
            raise TypeError(f"{self.owner}() missing {len(missing)} required positional argument{plural}: {names}")


def _given(value: object, spec: InputSpec) -> object:
    """What is linked is not known yet, which a validator sees as None unless it takes the link itself."""
    return None if _is_link(value) and not spec.config.get("rawLink") else value


def _is_link(value: object) -> bool:
    return (
        isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int | float)
    )


def missing_files(inputs: Mapping[str, Any], known: Mapping[str, InputSpec], has_file: HasFile) -> Iterator[Reason]:
    """For a class that is not listed: its upload inputs that name a file which is neither offered nor there."""
    if not isinstance(inputs, dict):
        return
    for name, spec in known.items():
        value = inputs.get(name)
        if spec.upload and isinstance(value, str) and not spec.offers(value) and not has_file(value):
            yield custom_failed(name, f"Invalid {_kind(spec)} file: {value}")


def _kind(spec: InputSpec) -> str:
    flag = next((key for key, on in spec.config.items() if on and key.endswith("_upload")), "")
    return {"image_upload": "image", "audio_upload": "audio", "video_upload": "video"}.get(flag, "input")
