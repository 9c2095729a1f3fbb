"""Reference tables of README.md, written from the code: `python -m node.config.reference README.md`.

Each table stands between `<!-- NAME:begin -->` and `<!-- NAME:end -->`. A test compares; whoever changes a
key or a metric runs the command.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from node.api.openapi import ERRORS, OPERATIONS
from node.config.apps import App
from node.config.keys import keys_of
from node.config.settings import Settings
from node.config.sources import variable_of
from node.config.webhooks import Webhook
from node.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


def configuration_table() -> str:
    """Every key of the settings, with its variable, default and meaning."""
    rows = (
        (
            f"`{key.name}`",
            f"`{variable_of(key.name)}`",
            _default(key.default),
            f"{key.description} {_expected(key)}",
        )
        for key in keys_of(Settings)
    )
    return _table(("key", "variable", "default", "meaning"), rows)


def apps_table() -> str:
    """Every key of an `[[apps]]` table."""
    return _keys_table(App)


def webhooks_table() -> str:
    """Every key of an `[[apps.webhooks]]` table."""
    return _keys_table(Webhook)


def metrics_table() -> str:
    """Every metric, with its type and labels."""
    rows = (
        (f"`{item.name}`", item.kind, ", ".join(f"`{label}`" for label in item.labels), item.text)
        for item in Metrics().described
    )
    return _table(("metric", "type", "labels", "meaning"), rows)


def routes_table() -> str:
    """Every route of the HTTP API."""
    rows = ((f"`{route.method} {route.template}`", f"{operation.summary}.") for route, operation in OPERATIONS.items())
    return _table(("route", "what it does"), rows)


def statuses_table() -> str:
    """Every error of the HTTP API."""
    return _table(("status", "meaning"), ((str(status), text) for status, text in ERRORS.items()))


TABLES: Final[Mapping[str, Callable[[], str]]] = {
    "configuration": configuration_table,
    "apps": apps_table,
    "webhooks": webhooks_table,
    "metrics": metrics_table,
    "routes": routes_table,
    "statuses": statuses_table,
}


def refreshed(text: str) -> str:
    """Return `text` with every marked table written anew; raises ValueError if a table has no markers."""
    for name, table in TABLES.items():
        begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
        before, found, rest = text.partition(begin)
        _, found_too, after = rest.partition(end)
        if not (found and found_too):
            raise ValueError(f"no {begin.strip()} and {end} around the table")
        text = before + begin + table() + end + after
    return text


def main(paths: Sequence[str]) -> None:
    """Write the tables of each file anew."""
    for path in map(Path, paths):
        path.write_text(refreshed(path.read_text()))


def _keys_table(table: type[msgspec.Struct]) -> str:
    rows = ((f"`{key.name}`", _default(key.default), f"{key.description} {_expected(key)}") for key in keys_of(table))
    return _table(("key", "default", "meaning"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.strip().replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _expected(key: Any) -> str:
    worded: str = key.expected
    return f"({worded[0].upper()}{worded[1:]}.)" if worded not in ("a text", "true or false", "a list of texts") else ""


def _default(value: object) -> str:
    if value is msgspec.NODEFAULT:
        return "required"
    if value in ("", (), {}):
        return "empty"
    return f"`{msgspec.json.encode(value).decode()}`" if not isinstance(value, str) else f"`{value}`"


if __name__ == "__main__":
    main(sys.argv[1:])
