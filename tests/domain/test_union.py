from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.catalogue import Catalogue, Pool
from gateway.domain.union import unite
from tests.domain.catalogues import catalogue, info


def combo(options: list[Any], *, spelt_new: bool = False, **config: Any) -> list[Any]:
    return ["COMBO", {**config, "options": options}] if spelt_new else [options, config]


def loader(options: list[Any], *, spelt_new: bool = False, **more: Any) -> dict[str, Any]:
    return info({"name": combo(options, spelt_new=spelt_new, tooltip="t"), "steps": ["INT", {}]}, **more)


def merge(catalogues: Sequence[Catalogue]) -> dict[str, Any]:
    """As GET /object_info shows it."""
    return {name: node.info for name, node in unite(catalogues).items()}


def test_order_is_the_first_workers_then_the_others() -> None:
    first = catalogue({"B": info(), "A": info()})
    second = catalogue({"C": info(), "A": info(), "0": info()})
    assert list(merge([first, second])) == ["B", "A", "C", "0"]


def test_new_options_come_after_the_first_workers_and_once() -> None:
    first = catalogue({"L": loader(["b", "a"])})
    second = catalogue({"L": loader(["c", "a", "b"])})
    third = catalogue({"L": loader(["d", "c"])})
    united = unite([first, second, third])
    assert united["L"].info["input"]["required"]["name"] == [["b", "a", "c", "d"], {"tooltip": "t"}]
    assert united["L"].inputs["name"].offers("d")
    assert json.loads(json.dumps(merge([first, second, third])["L"])) == loader(["b", "a", "c", "d"])


def test_each_spelling_stays_the_first_workers() -> None:
    old = catalogue({"L": loader(["a"])})
    new = catalogue({"L": loader(["b"], spelt_new=True)})
    assert merge([old, new])["L"]["input"]["required"]["name"] == [["a", "b"], {"tooltip": "t"}]
    assert merge([new, old])["L"]["input"]["required"]["name"] == ["COMBO", {"tooltip": "t", "options": ["b", "a"]}]


def test_all_else_is_the_first_workers() -> None:
    first = catalogue({"L": {**loader(["a"]), "description": "one"}})
    other = {**loader(["a"], gives=["IMAGE"]), "description": "two"}
    other["input"]["required"]["extra"] = ["INT"]
    assert merge([first, catalogue({"L": other})])["L"] == first.nodes["L"].info


def test_what_all_describe_alike_is_not_touched() -> None:
    pool = Pool()
    first = catalogue({"L": loader(["a"]), "M": loader(["x"])}, pool)
    second = catalogue({"L": loader(["a"]), "M": loader(["y"])}, pool)
    united = unite([first, second])
    assert united["L"] is first.nodes["L"]
    assert first.nodes["M"].info["input"]["required"]["name"][0] == ["x"], "a merge must not change what it merges"


def test_a_worker_with_nothing_new_costs_no_copy() -> None:
    first = catalogue({"L": loader(["a", "b"])})
    assert unite([first, catalogue({"L": loader(["b"])})])["L"] is first.nodes["L"]


def test_none_and_one() -> None:
    one = catalogue({"L": loader(["a"])})
    assert merge([]) == {}
    assert unite([one, one]) == dict(one.nodes)


def test_an_input_that_is_a_combo_on_one_worker_only() -> None:
    text = info({"name": ["STRING", {}], "steps": ["INT", {}]})
    assert merge([catalogue({"L": text}), catalogue({"L": loader(["a"])})])["L"] == text
    assert merge([catalogue({"L": loader(["a"])}), catalogue({"L": text})])["L"] == loader(["a"])


options = st.lists(st.text("abcdef", min_size=1, max_size=1), max_size=6, unique=True)


@settings(deadline=None)
@given(st.lists(st.tuples(options, st.booleans()), min_size=1, max_size=6))
def test_the_union_offers_what_any_worker_offers_and_no_more(workers: list[tuple[list[str], bool]]) -> None:
    catalogues = [catalogue({"L": loader(names, spelt_new=new)}) for names, new in workers]
    spec = unite(catalogues)["L"].inputs["name"]
    assert spec.options is not None
    assert list(spec.options) == list(dict.fromkeys(name for names, _ in workers for name in names))
    assert unite([*catalogues, *catalogues])["L"].inputs["name"].options == spec.options
