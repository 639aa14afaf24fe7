from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.catalogue import Pool, parse
from gateway.domain.demand import Choice, Demand
from gateway.domain.errors import BadRequest
from tests.domain.catalogues import catalogue, info, recorded

LOADER = info({"name": [["a.safetensors", "b.safetensors"]]})


def demand(*choices: Choice, classes: frozenset[str] | None = None) -> Demand:
    return Demand(classes or frozenset(choice.node_class for choice in choices), frozenset(choices), frozenset())


def test_the_recorded_catalogue_is_read_whole() -> None:
    found = recorded()
    sampler = found.nodes["KSampler"]
    assert found.classes == set(found.nodes)
    assert sampler.outputs == ("LATENT",)
    assert sampler.inputs["sampler_name"].offers("euler")
    assert not sampler.inputs["sampler_name"].offers("EULER")
    assert found.nodes["SaveImage"].output_node
    assert not sampler.output_node
    assert found.nodes["LoadImageMask"].display_name == "Load Image (as Mask)"
    assert sampler.core
    assert not found.nodes["ProbeSleep"].core


def test_infos_are_kept_as_they_came() -> None:
    body = json.dumps({"A": info({"x": ["FLOAT", {"default": float("nan")}]}), "B": LOADER})
    found = parse(body.encode(), Pool())
    assert json.dumps({name: dict(node.info) for name, node in found.nodes.items()}) == body


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe\x00x", b"[" * 100_000, b'"x"'])
def test_what_is_no_object_info_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        parse(body, Pool())


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["input", "required", "output", "options", "x"]), inner, max_size=3)
        ),
        max_leaves=20,
    )
)
def test_malformed_entries_never_break_the_rest(entry: Any) -> None:
    declared = {"required": {"x": entry}, "optional": entry}
    found = catalogue({"Odd": entry, "Odder": {"input": declared, "output": entry}, "Good": LOADER})
    assert found.nodes["Good"].inputs["name"].offers("a.safetensors")
    assert found.lacks(demand(Choice("Good", "name", "b.safetensors"))) is None


def test_equal_bodies_are_one_catalogue_and_equal_classes_one_object() -> None:
    pool = Pool()
    one = catalogue({"A": LOADER, "B": LOADER}, pool)
    again = catalogue({"A": LOADER, "B": LOADER}, pool)
    other = catalogue({"A": LOADER, "B": info()}, pool)
    assert again is one
    assert other.digest != one.digest
    assert other.nodes["A"] is one.nodes["A"]
    assert other.nodes["B"] is not one.nodes["B"]


def test_a_class_is_shared_though_another_variant_came_between() -> None:
    pool = Pool()
    one = catalogue({"A": LOADER}, pool)
    between = catalogue({"A": info(), "B": info()}, pool)
    last = catalogue({"A": LOADER, "C": info()}, pool)
    assert last.nodes["A"] is one.nodes["A"] is not between.nodes["A"]


def test_a_pool_keeps_nothing_that_no_catalogue_uses() -> None:
    pool = Pool()
    one = catalogue({"A": LOADER, "B": LOADER}, pool)
    other = catalogue({"A": LOADER, "C": info()}, pool)
    assert pool.in_use() == 3
    del one
    assert pool.in_use() == 2
    digest = other.digest
    del other
    assert pool.in_use() == 0
    assert pool.catalogue(digest) is None


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (demand(Choice("Loader", "name", "a.safetensors")), None),
        (demand(Choice("Loader", "name", "c.safetensors")), "Loader.name has no 'c.safetensors'"),
        (demand(classes=frozenset({"Loader", "Zzz", "Nope"})), "node class Nope is not installed"),
        (demand(Choice("Loader", "new_input", "x")), "Loader.new_input has no 'x'"),
        (demand(Choice("Loader", "text", "anything"), Choice("Loader", "fetched", "anything")), None),
        (demand(Choice("Gone", "name", "x"), classes=frozenset({"Loader"})), "Gone.name has no 'x'"),
        (demand(), None),
    ],
)
def test_what_is_lacking_is_named(wanted: Demand, reason: str | None) -> None:
    remote = ["COMBO", {"options": [], "remote": {"route": "/x"}}]
    loader = info({**LOADER["input"]["required"], "text": ["STRING"], "fetched": remote})
    assert catalogue({"Loader": loader}).lacks(wanted) == reason


def test_the_reason_does_not_depend_on_chance() -> None:
    wanted = demand(*(Choice("Loader", "name", f"{letter}.ckpt") for letter in "zyxwvu"))
    assert catalogue({"Loader": LOADER}).lacks(wanted) == "Loader.name has no 'u.ckpt'"
