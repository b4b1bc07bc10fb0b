"""The table of models in the README is the one that the cards give."""

from __future__ import annotations

from pathlib import Path

import pytest

from kerasdeconv import zoo
from kerasdeconv.zoo import table

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- models:begin -->", "<!-- models:end -->"


@pytest.mark.parametrize("page", ["README.md", "docs/zoo.md"])
def test_pages_agree_with_the_cards(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert table.updated(text) == text, f"run: python -m kerasdeconv.zoo.table {page}"


def test_every_trained_entry_has_a_picture_and_says_what_it_is_for() -> None:
    for name in zoo.list_models(pretrained=True):
        entry = zoo.card(name)
        assert entry.use and entry.files, name
        assert (ROOT / "docs" / "pictures" / f"{name}.jpg").is_file(), name


def test_every_entry_has_a_row() -> None:
    trained, untrained = table.markdown_tables().split("To be trained")
    for part, pretrained in ((trained, True), (untrained, False)):
        rows = [line for line in part.splitlines() if line.startswith("| `")]
        assert [row.split("`")[1] for row in rows] == zoo.list_models(pretrained=pretrained)
        assert len({row.count("|") for row in rows}) == 1


def test_update_in_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    for _ in range(2):  # the second time changes nothing
        assert table.main([str(page)]) == 0
        assert page.read_text() == (f"before\n{BEGIN}\n{table.markdown_tables()}\n{END}\nafter\n")
    page.write_text("no markers\n")
    assert table.main([str(page)]) == 2
    assert "needs the lines" in capsys.readouterr().err
    assert page.read_text() == "no markers\n"
