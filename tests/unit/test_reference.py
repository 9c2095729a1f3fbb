"""The reference tables in README.md."""

from pathlib import Path

import pytest

from node.config.apps import App
from node.config.keys import keys_of
from node.config.reference import TABLES, main, refreshed
from node.config.settings import Settings

README = Path(__file__).parents[2] / "README.md"


def test_readme_has_the_tables_of_this_code() -> None:
    """After a change to keys or metrics: `python -m node.config.reference README.md`."""
    assert refreshed(README.read_text()) == README.read_text()


@pytest.mark.parametrize("table", [Settings, App])
def test_keys_have_a_sentence_each(table: type[Settings | App]) -> None:
    """Whoever adds a key says what it is for."""
    for key in keys_of(table):
        assert key.description.endswith("."), key.name
        assert key.expected


def test_reference_writes_the_tables_between_their_markers(tmp_path: Path) -> None:
    """What stands around them stays."""
    path = tmp_path / "x.md"
    path.write_text("".join(f"a\n<!-- {name}:begin -->\nOLD ROW\n<!-- {name}:end -->\nz\n" for name in TABLES))
    main([str(path)])
    text = path.read_text()
    assert "OLD ROW" not in text
    assert text.count("a\n<!--") == text.count("-->\nz\n") == len(TABLES)
    assert "| `nats.password` | `USHER_NATS__PASSWORD` | empty |" in text
    assert "| `usher_signins_total` | counter | `app`, `result` |" in text


def test_reference_refuses_a_file_when_a_marker_is_missing() -> None:
    """A table that silently is not written would grow old."""
    with pytest.raises(ValueError, match="no <!-- configuration:begin -->"):
        refreshed("nothing here")
