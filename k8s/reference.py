"""Writes what follows from the chart's schema: `python -m k8s.reference`.

`usher/values.schema.json` is the one statement of every value: type, default, and the sentence that describes it. From it
come `usher/values.yaml` and the table in README.md; what it says of the node's settings and of apps comes from the code.
A test compares; whoever changes a value or a setting runs the command.
"""

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from k8s.schema import Schema, app_schema, config_schema

HERE: Final = Path(__file__).parent
SCHEMA: Final = HERE / "usher" / "values.schema.json"
VALUES: Final = HERE / "usher" / "values.yaml"
README: Final = HERE / "README.md"

_IN_FULL: Final = ("drain", "presence", "rebalance", "webhooks")
"""Tables of the settings that values.yaml states in full: the chart computes with them, or scaling it needs them."""

_WIDTH: Final = 120
_GAP: Final = "\n"
_HEAD: Final = """\
# Values of the chart, each with its default. Written from values.schema.json by `python -m k8s.reference`.

"""
_BEGIN: Final = "<!-- values:begin -->\n"
_END: Final = "<!-- values:end -->"


def schema_text() -> str:
    """The schema, with the definitions that come from the code written anew."""
    schema = json.loads(SCHEMA.read_text())
    schema["$defs"] |= {"app": app_schema(), "config": config_schema()}
    return _compact(schema) + "\n"


def values_text(schema: Schema) -> str:
    """values.yaml: every value with its sentence and default."""
    return _HEAD + "".join(_yaml(schema, resolved(schema, schema), 0))


def readme_text(schema: Schema) -> str:
    """README.md with its table of values written anew."""
    before, found, rest = README.read_text().partition(_BEGIN)
    _, found_too, after = rest.partition(_END)
    assert found, "README.md has no place for the table"  # noqa: S101 - told to whoever runs the command
    assert found_too, "README.md has no place for the table"  # noqa: S101
    rows = (f"| `{name}` | {_shown(leaf)} | {_cell(leaf)} |\n" for name, leaf in leaves(schema))
    return f"{before}{_BEGIN}| value | default | meaning |\n| --- | --- | --- |\n{''.join(rows)}{_END}{after}"


def leaves(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """Every value that can be set, by its dotted name."""
    yield from _leaves(schema, resolved(schema, schema), "")


def resolved(schema: Schema, node: Schema) -> Schema:
    """`node` with what it refers to; what it says itself wins."""
    if "$ref" not in node:
        return node
    definition = schema["$defs"][node["$ref"].rpartition("/")[2]]
    return {**definition, **{name: value for name, value in node.items() if name != "$ref"}}


def main() -> None:
    """Write all that is written from the schema."""
    SCHEMA.write_text(schema_text())
    schema = json.loads(SCHEMA.read_text())
    VALUES.write_text(values_text(schema))
    README.write_text(readme_text(schema))


def _leaves(schema: Schema, node: Schema, prefix: str) -> Iterator[tuple[str, Schema]]:
    for name, child in node["properties"].items():
        inner = resolved(schema, child)
        if "properties" in inner and "default" not in inner:
            yield from _leaves(schema, inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", inner


def _yaml(schema: Schema, node: Schema, depth: int) -> Iterator[str]:
    """The lines of an object: a comment and a line for each value, a block for each object."""
    pad = "  " * depth
    after_block = False
    for name, child in node["properties"].items():
        inner = resolved(schema, child)
        comment = "".join(f"{pad}# {line}\n" for line in textwrap.wrap(inner.get("description", ""), _WIDTH - len(pad) - 2))
        if "default" in inner:
            yield f"{_GAP if after_block else ''}{comment}{pad}{name}: {_flow(inner['default'])}\n"
            after_block = False
        elif "properties" in inner:
            chosen = _stated(inner) if name == "config" and not depth else inner
            yield f"{'' if depth else _GAP}{comment}{pad}{name}:\n" + "".join(_yaml(schema, chosen, depth + 1))
            after_block = not depth


def _stated(config: Schema) -> Schema:
    return {**config, "properties": {name: config["properties"][name] for name in _IN_FULL}}


def _flow(value: Any) -> str:
    """A value in YAML on one line; JSON is YAML, and easier on the eye without most of its quotes."""
    match value:
        case dict() if value:
            return "{" + ", ".join(f"{name}: {_flow(item)}" for name, item in value.items()) + "}"
        case list() if value:
            return "[" + ", ".join(map(_flow, value)) + "]"
        case str() if value and value.replace(".", "").replace("/", "").isalpha():
            return value
        case _:
            return json.dumps(value)


def _shown(leaf: Schema) -> str:
    if "default" not in leaf:
        return ""
    return f"`{_flow(leaf['default'])}`" if leaf["default"] not in ("", None) else "empty"


def _cell(leaf: Schema) -> str:
    text = leaf["description"].replace("|", "\\|")
    choices = [choice for choice in leaf.get("enum", []) if choice != ""]
    return f"{text} (One of {', '.join(f'`{_flow(choice)}`' for choice in choices)}.)" if choices else text


def _compact(value: Any, depth: int = 0) -> str:
    """JSON with everything on one line that fits on one."""
    line = json.dumps(value, ensure_ascii=False)
    pad, fits = "  " * depth, len(line) + 2 * depth < _WIDTH
    if not isinstance(value, dict) or not value or ("properties" not in value and fits):
        return line
    inner = (f"{pad}  {json.dumps(name)}: {_compact(item, depth + 1)}" for name, item in value.items())
    return "{\n" + ",\n".join(inner) + f"\n{pad}}}"


if __name__ == "__main__":
    main()
