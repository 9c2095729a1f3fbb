"""What the runbook promises: a section for each alert, and names that exist."""

import re
from pathlib import Path

from deploy.panels import FOREIGN, ROWS
from node.config.apps import App
from node.config.keys import keys_of
from node.config.settings import Settings
from node.metrics import Metrics
from tests.deploy.promql import alerts

README = (Path(__file__).parents[2] / "deploy" / "README.md").read_text()
RUNBOOK = README.partition("## Alerts and what to do")[2]


def test_runbook_has_a_section_for_each_alert_with_its_severity() -> None:
    """And none for an alert that is no more."""
    sections = dict(re.findall(r"^### (\w+)\n\n\*(\w+)\.\*", RUNBOOK, re.MULTILINE))
    assert sections == {name: alert["labels"]["severity"] for name, alert in alerts().items()}


def test_readme_names_metrics_and_panels_that_there_are() -> None:
    """Who is sent to look for something finds it."""
    metrics = {item.name for item in (*Metrics().described, *FOREIGN)}
    assert set(re.findall(r"`(usher_\w+)`", README)) - metrics == set()
    panels = {panel.title for row in ROWS for panel in row.panels}
    assert set(re.findall(r'"([A-Z][^"]+)"', RUNBOOK)) - panels == set()


def test_readme_names_keys_that_there_are() -> None:
    """Of the settings, such as `nats.prefix`, and of apps."""
    keys = {key.name for key in keys_of(Settings)}
    named = set(re.findall(r"`((?:api|cluster|drain|nats|presence|websocket)\.[a-z_.]+)`", README))
    assert named
    assert named - keys == set()
    assert {"max_connections", "secrets"} <= {key.name for key in keys_of(App)}


def test_links_of_the_readme_lead_somewhere() -> None:
    """Files of the repository, and headings of this page."""
    links = re.findall(r"\]\(([^)#]*)(?:#([\w-]+))?\)", README)
    here = Path(__file__).parents[2] / "deploy"
    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", README, re.MULTILINE)}
    assert [path for path, _ in links if path and not (here / path).exists()] == []
    assert [anchor for path, anchor in links if not path and anchor not in headings] == []
