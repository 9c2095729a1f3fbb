"""The rules for Prometheus: they fire when they should, ask for what there is, and say what to do."""

import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest

from deploy.panels import FOREIGN
from node.metrics import Metrics
from tests.deploy.promql import RULES, alerts, names, recorded, rules

PROMTOOL = shutil.which("promtool")
KNOWN = {item.name for item in (*Metrics().described, *FOREIGN)} | recorded() | {"process_start_time_seconds"}


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
@pytest.mark.parametrize("command", ["test rules rules_test.yml", "check config prometheus.yml"])
def test_rules_satisfy_promtool(command: str) -> None:
    """Each alert fires in its own test and in no other, and the configuration with them is one."""
    ran = subprocess.run([str(PROMTOOL), *command.split()], cwd=RULES.parent, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("rule", list(rules()), ids=lambda rule: rule.get("alert") or rule["record"])
def test_rule_asks_for_what_there_is(rule: Mapping[str, Any]) -> None:
    """A rule over a metric that was renamed is silent for ever."""
    assert names(rule["expr"])
    assert names(rule["expr"]) - KNOWN == set()


def test_rules_have_a_test_each() -> None:
    """Whoever adds a rule shows it at work."""
    text = (RULES.parent / "rules_test.yml").read_text()
    assert {name for name in {*alerts(), *recorded()} if name not in text} == set()


@pytest.mark.parametrize(("name", "alert"), list(alerts().items()))
def test_alert_says_what_is_wrong_and_how_bad_it_is(name: str, alert: Mapping[str, Any]) -> None:
    """Whoever is woken reads this first."""
    assert name.startswith("Usher")
    assert alert["labels"]["severity"] in ("info", "warning", "critical")
    assert set(alert["annotations"]) == {"summary", "description", "runbook"}
    assert alert["annotations"]["runbook"] == f"deploy/README.md#{name.lower()}"
    assert alert["annotations"]["description"].endswith(".")


def test_names_of_an_expression_are_those_it_asks_for() -> None:
    """Labels, functions, ranges and words of the language are none."""
    expression = (
        'sum by (app, le) (rate(a_bucket{app=~"b"}[5m])) / on (c) group_left (d) e:f:sum > 1.5 and up offset 10m == 0'
    )
    assert names(expression) == {"a", "e:f:sum", "up"}
