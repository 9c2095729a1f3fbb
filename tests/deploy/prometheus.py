"""A real Prometheus for tests: scrapes what it is told every second, and answers PromQL."""

import json
import shutil
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.processes import LOOPBACK, Program, answers_200, free_ports

INTERVAL = "1s"


def hurried(rules: str, wait: str) -> str:
    """The same rules, but alerts that wait do so for `wait` only."""
    document = yaml.safe_load(rules)
    for group in document["groups"]:
        for rule in group["rules"]:
            if "for" in rule:
                rule["for"] = wait
    return yaml.safe_dump(document)


class Prometheus(Program):
    """One server with one job, `usher`. It is stopped like every other program."""

    def __init__(self, directory: Path, rules: str, targets: Sequence[str]) -> None:
        """Skip the test where there is no Prometheus."""
        path = shutil.which("prometheus")
        if path is None:
            pytest.skip("prometheus is not installed")
        (self.port,) = free_ports(1)
        self.url = f"http://{LOOPBACK}:{self.port}"
        (directory / "rules.yml").write_text(rules)
        config = {
            "global": {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL, "scrape_timeout": INTERVAL},
            "rule_files": ["rules.yml"],
            "scrape_configs": [{"job_name": "usher", "static_configs": [{"targets": list(targets)}]}],
        }
        (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
        command = (
            *(path, "--config.file=prometheus.yml", f"--storage.tsdb.path={directory / 'tsdb'}"),
            *(f"--web.listen-address={LOOPBACK}:{self.port}", "--log.level=warn"),
        )
        super().__init__("prometheus", command, directory)

    def is_ready(self) -> bool:
        """Whether it answers questions."""
        return answers_200(f"{self.url}/-/ready")

    def ask(self, path: str, **parameters: str) -> Any:
        """The data of an answer of its HTTP API."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=10) as response:
            return json.load(response)["data"]

    def query(self, expression: str) -> list[tuple[Mapping[str, str], float]]:
        """The labels and values of an expression now."""
        result = self.ask("query", query=expression)["result"]
        return [(series["metric"], float(series["value"][1])) for series in result]

    def value(self, expression: str) -> float | None:
        """The one value of an expression; None if it has none."""
        found = self.query(expression)
        assert len(found) <= 1, found
        return found[0][1] if found else None

    def families(self) -> set[str]:
        """The metrics that its targets expose, also those that have no series yet."""
        return set(self.ask("metadata"))

    def firing(self) -> set[tuple[str, str]]:
        """The (name, instance) of the alerts that fire; the instance is empty for those of a whole cluster."""
        labels = [alert["labels"] for alert in self.ask("alerts")["alerts"] if alert["state"] == "firing"]
        return {(label["alertname"], label.get("instance", "")) for label in labels}
