from __future__ import annotations

from bench._page import PAGE, page
from bench._rows import RESULTS


def test_the_page_shows_what_was_measured() -> None:
    text = PAGE.read_text()
    assert text == page(text), "run scripts/docs"


def test_every_row_is_shown_once() -> None:
    rows = RESULTS.read_text().count('"case"')
    table = page("").split("|---|---|---|---|---|\n")[1]
    assert table.count("\n|") + 1 == rows
