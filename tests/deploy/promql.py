"""What a PromQL expression asks for, read from its text: as much of the language as the rules and the dashboard use."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "rules.yml"

_ASIDE = re.compile(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]|\b(?:by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)')
_NAME = re.compile(r"(?<![\w:.$])[a-zA-Z_:][\w:]*(?!\s*\(|[\w:])")
_WORDS = {"and", "or", "unless", "offset", "bool", "sum", "count", "group", "min", "max", "avg"}


def names(expression: str) -> set[str]:
    """The time series that it asks for; a histogram's as its family."""
    found = set(_NAME.findall(_ASIDE.sub(" ", expression))) - _WORDS
    return {name.removesuffix("_bucket") for name in found}


def rules() -> Iterator[Mapping[str, Any]]:
    """Every rule of the file, as Prometheus reads it."""
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        yield from group["rules"]


def alerts() -> dict[str, Mapping[str, Any]]:
    """The alerts by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def recorded() -> set[str]:
    """The names of what is recorded."""
    return {rule["record"] for rule in rules() if "record" in rule}
