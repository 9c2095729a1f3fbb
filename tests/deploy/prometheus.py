"""A real Prometheus for tests: scrapes what it is told, evaluates rules every second, and answers PromQL."""

import contextlib
import json
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.support import eventually
from tests.processes import LOOPBACK, Program, answers_200, free_ports

INTERVAL = "1s"
OF_THE_MACHINE = {"UsherApiSlow", "UsherCpuNearlyFull", "UsherLoopLate"}
"""Alerts that other work on a small machine may raise."""
PROMETHEUS = shutil.which("prometheus")
needs_prometheus = pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not installed")


def hurried(rules: str, wait: str) -> str:
    """The same rules, but alerts that wait do so for `wait` only."""
    document = yaml.safe_load(rules)
    for group in document["groups"]:
        for rule in group["rules"]:
            if "for" in rule:
                rule["for"] = wait
    return yaml.safe_dump(document)


def job(name: str, targets: Sequence[str]) -> Mapping[str, Any]:
    """A scrape configuration of targets that are known beforehand."""
    return {"job_name": name, "static_configs": [{"targets": list(targets)}]}


class Prometheus(Program):
    """One server. It is stopped like every other program."""

    def __init__(self, directory: Path, rules: str, *jobs: Mapping[str, Any]) -> None:
        """`rules` and `jobs` are the text of a rules file and scrape configurations."""
        (self.port,) = free_ports(1)
        self.url = f"http://{LOOPBACK}:{self.port}"
        (directory / "rules.yml").write_text(rules)
        config = {
            "global": {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL, "scrape_timeout": INTERVAL},
            "rule_files": ["rules.yml"],
            "scrape_configs": list(jobs),
        }
        (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
        command = (
            *(str(PROMETHEUS), "--config.file=prometheus.yml", f"--storage.tsdb.path={directory / 'tsdb'}"),
            *(f"--web.listen-address={LOOPBACK}:{self.port}", "--log.level=warn"),
            "--scrape.discovery-reload-interval=1s",  # else it may wait five more before it scrapes
        )
        self._watched_since = time.monotonic()
        super().__init__("prometheus", command, directory)

    def is_ready(self) -> bool:
        """Whether it answers questions."""
        return answers_200(f"{self.url}/-/ready")

    def ask(self, path: str, **parameters: str) -> Any:
        """The data of an answer of its HTTP API."""
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=10) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(parameters, json.load(error)["error"]) from None

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

    async def becomes(self, question: str, answer: float) -> None:
        """Return when it gives that answer; AssertionError with the one it gives if it does not in time."""
        with contextlib.suppress(AssertionError):
            await eventually(lambda: self.value(question) == answer, question)
        found = self.value(question)
        assert found == answer, f"{question} is {found}, not {answer}"

    def series(self) -> set[str]:
        """The names of all time series that there are."""
        return set(self.ask("label/__name__/values"))

    async def sees(self, targets: int) -> None:
        """Return when so many targets are up and all is calm: what `fired` tells of begins here."""
        await self.becomes("sum(up)", targets)
        await eventually(lambda: not self._alerts("pending", "firing"), "nothing fires, nor waits to")
        self._watched_since = time.monotonic()

    async def fired(self) -> set[str]:
        """The alerts that have fired since all targets were seen, whether they still do or not; first, none may wait to."""
        await eventually(lambda: not self._alerts("pending"), "no alert waits to fire")
        seconds = max(1, int(time.monotonic() - self._watched_since))
        found = self.query(f'last_over_time(ALERTS{{alertstate="firing"}}[{seconds}s])')
        return {labels["alertname"] for labels, _ in found} - OF_THE_MACHINE

    def firing(self, where: str = "instance") -> set[tuple[str, str]]:
        """The alerts that fire: their names, and this label, which is empty for those of a whole cluster."""
        return {(labels["alertname"], labels.get(where, "")) for labels in self._alerts("firing")}

    def _alerts(self, *states: str) -> list[Mapping[str, str]]:
        """The labels of the alerts in these states, but for those that other work on the machine may raise."""
        found = [alert["labels"] for alert in self.ask("alerts")["alerts"] if alert["state"] in states]
        return [labels for labels in found if labels["alertname"] not in OF_THE_MACHINE]
