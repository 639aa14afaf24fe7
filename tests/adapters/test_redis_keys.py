from __future__ import annotations

import inspect
import re
from dataclasses import fields

from gateway.adapters.redis_keys import PERMANENT, Keys
from gateway.domain.files import OutputFile
from gateway.domain.ids import PromptId, WorkerName

KEYS = Keys("farm")
HOSTILE = "a:b}{c \u00e9\n"


def made() -> dict[str, tuple[str, str]]:
    """Each key by the name of what makes it, with hostile names in it, and what its docstring says."""
    found: dict[str, tuple[str, str]] = {}
    for name, member in vars(Keys).items():
        if name.startswith("_") or name in {field.name for field in fields(Keys)}:
            continue
        if isinstance(member, property):
            found[name] = (str(getattr(KEYS, name)), str(member.__doc__))
        else:
            parameter = [*inspect.signature(member).parameters][1]
            value = OutputFile("output", HOSTILE, HOSTILE) if parameter == "file" else HOSTILE
            found[name] = (member(KEYS, value), str(member.__doc__))
    return found


def test_all_keys_of_a_farm_are_in_one_slot_of_a_cluster_and_apart_from_other_farms() -> None:
    """The hash tag is what stands between the first { and the first } after it, whatever a client sends."""
    for key, _ in made().values():
        assert re.match(r"[^{]*\{([^}]+)\}", key)[1] == "farm"  # type: ignore[index]
    assert len({key for key, _ in made().values()}) == len(made())
    assert KEYS.version != Keys("other").version


def test_only_what_says_so_is_there_for_ever() -> None:
    for name, (key, says) in made().items():
        if not key.endswith(":"):  # a prefix of others
            permanent = "Permanent" in says and name != "job"
            assert bool(PERMANENT.match(key)) is permanent, name


def test_no_name_of_a_prompt_or_a_worker_makes_its_key_another() -> None:
    assert not PERMANENT.match(KEYS.job(PromptId("live")))
    assert not PERMANENT.match(KEYS.seen(WorkerName("version")))
    assert not PERMANENT.match(KEYS.secret(PromptId("}:held:x")))
    assert KEYS.file(OutputFile("output", "a", "b")) != KEYS.file(OutputFile("output", "", "a:b"))
