from __future__ import annotations

import re

import pytest

from gateway.domain import errors
from gateway.domain.errors import BodyTooLarge, GatewayError, PromptConflict, PromptRefused, WorkerRejected


def drawn() -> dict[str, str]:
    """Each class of the tree in the module's docstring, and the one it hangs from."""
    parents: dict[str, str] = {}
    above = {-4: "Exception"}
    for line in (errors.__doc__ or "").splitlines()[2:]:
        if found := re.match(r"([│├└─ ]*)(\w+)", line):
            depth = len(found[1]) - 4
            parents[found[2]] = above[depth]
            above[depth + 4] = found[2]
    return parents


def test_the_tree_is_drawn_as_it_is() -> None:
    found = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, GatewayError)]
    assert drawn() == {cls.__name__: cls.__bases__[0].__name__ for cls in found}


@pytest.mark.parametrize("kind", [PromptRefused, PromptConflict])
def test_a_refusal_has_comfyuis_shape(kind: type[PromptRefused]) -> None:
    extra = {"a": 1}
    refused = kind("no_prompt", "No prompt provided", extra_info=extra)
    extra["a"] = 2
    told = {"type": "no_prompt", "message": "No prompt provided", "details": "", "extra_info": {"a": 1}}
    assert refused.body() == {"error": told, "node_errors": {}}
    assert str(refused) == "No prompt provided"


def test_what_is_said_names_the_figure() -> None:
    assert "1234" in str(BodyTooLarge(1234))
    assert "503" in str(WorkerRejected(503, b"full"))
