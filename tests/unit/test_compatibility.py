"""The compatibility tables in README.md: each feature has a test that exists, or a reason why it is not there."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from node.config.webhooks import EventName
from node.protocol.channels import ChannelKind
from node.protocol.errors import CloseCode

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "README.md").read_text().partition("\n## Compatibility\n")[2].partition("\n## ")[0]
ROWS = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in SECTION.splitlines() if line.startswith("| ")]
FEATURES = [row for row in ROWS if row[0] not in ("feature", "---")]
SHOWN = [(feature, test) for feature, state, shown in FEATURES if state == "yes" for test in shown.split(", ")]


@cache
def functions(path: Path) -> set[str]:
    """The names of the functions of a file, in its classes too."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)}


def test_every_feature_has_a_state() -> None:
    """Yes with a test, or no with a reason in a sentence; and there are as many as the protocol has."""
    assert len(FEATURES) > 50
    for feature, state, shown in FEATURES:
        assert state in ("yes", "no"), feature
        assert re.fullmatch(r"[A-Z][^`]*(`[^`]+`[^`]*)*\." if state == "no" else r"`[^`]+`(, `[^`]+`)*", shown), feature


@pytest.mark.parametrize(("feature", "test"), SHOWN)
def test_test_that_shows_a_feature_exists(feature: str, test: str) -> None:
    """A test that is renamed takes its row along."""
    file, _, function = test.strip("`").partition("::")
    path = ROOT / "tests" / file
    assert path.name.startswith("test_")
    assert path.is_file(), feature
    assert not function or (function.startswith("test_") and function in functions(path)), feature


def test_each_kind_of_channel_each_code_and_each_webhook_has_a_row() -> None:
    """Whoever adds one says what shows it."""
    listed = "\n".join(feature for feature, _, _ in FEATURES)
    prefixes = [kind.prefix for kind in ChannelKind if kind.prefix]
    codes = [str(code.value) for code in CloseCode if code >= CloseCode.TLS_REQUIRED]
    events = get_args(EventName)
    assert [name for name in (*prefixes, *events) if f"`{name}`" not in listed] == []
    assert [code for code in codes if code not in listed] == []
