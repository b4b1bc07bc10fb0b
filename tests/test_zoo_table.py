"""The table of models in the README is the one that the cards give."""

from __future__ import annotations

from pathlib import Path

import pytest

from kerasdeconv import zoo
from kerasdeconv.zoo import table

README = Path(__file__).parent.parent / "README.md"


def test_the_readme_agrees_with_the_cards() -> None:
    text = README.read_text(encoding="utf-8")
    assert table.updated(text) == text, "run: python -m kerasdeconv.zoo.table README.md"


def test_every_entry_has_a_row() -> None:
    trained, untrained = table.markdown_tables().split("To be trained")
    for part, pretrained in ((trained, True), (untrained, False)):
        rows = [line for line in part.splitlines() if line.startswith("| `")]
        assert [row.split("`")[1] for row in rows] == zoo.list_models(pretrained=pretrained)
        assert len({row.count("|") for row in rows}) == 1


def test_update_in_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
    for _ in range(2):  # the second time changes nothing
        assert table.main([str(page)]) == 0
        assert page.read_text() == (
            f"before\n{table.BEGIN}\n{table.markdown_tables()}\n{table.END}\nafter\n"
        )
    page.write_text("no markers\n")
    assert table.main([str(page)]) == 2
    assert "needs the lines" in capsys.readouterr().err
    assert page.read_text() == "no markers\n"
