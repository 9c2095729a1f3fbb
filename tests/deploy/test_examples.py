"""The examples: configuration, compose file, systemd unit. What can be checked without their programs is checked here."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from node.config.apps import load_apps
from node.config.sources import load_settings
from node.drain import longest_stop

DEPLOY = Path(__file__).parents[2] / "deploy"
UNIT = DEPLOY / "systemd" / "usher.service"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yml").read_text())
NODES = {name: service for name, service in COMPOSE["services"].items() if name.startswith("node-")}
WORST_EXPOSURE = 15
"""Tenths, of what systemd-analyze calls exposure: 0 is none, 100 all."""


def test_example_of_settings_is_read_by_the_node() -> None:
    """Every key exists, has its type and range, and is not what the node would do anyway, but for a few worth seeing."""
    loaded = load_settings(str(DEPLOY / "usher.toml"), {}, [])
    assert loaded.settings.nats.servers[2] == "nats://nats-3.internal:4222"
    assert loaded.settings.drain.spread == 20
    assert len(loaded.origins) > 10


def test_example_of_apps_is_read_by_the_node() -> None:
    """Two apps, one of which is in the middle of a rotation of its secret."""
    shop, staging = load_apps(DEPLOY / "apps.toml")
    assert (len(shop.secrets), len(staging.secrets)) == (2, 1)


def test_examples_satisfy_check_config() -> None:
    """What the README tells people to run."""
    command = (sys.executable, "-m", "node", "check-config", "--config", "usher.toml", "--apps", "apps.toml")
    ran = subprocess.run(command, cwd=DEPLOY, capture_output=True, text=True, check=False, env={})
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "2 apps in apps.toml" in ran.stdout


def test_compose_file_satisfies_its_schema() -> None:
    """The schema of the Compose specification."""
    program = Path(sys.executable).parent / "check-jsonschema"
    command = (program, "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yml")
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_compose_file_mounts_what_there_is() -> None:
    """A path that is not there would become an empty directory."""
    mounts = [mount for service in COMPOSE["services"].values() for mount in service.get("volumes", ())]
    places = [DEPLOY / mount.partition(":")[0] for mount in mounts if mount.startswith(".")]
    assert len(places) == 6
    assert [place for place in places if not place.exists()] == []


def test_compose_file_runs_three_nodes_without_rights_on_three_nats_servers() -> None:
    """The nodes' variables are ones that they know, and name the servers that run."""
    servers = [name for name in COMPOSE["services"] if name.startswith("nats-")]
    assert len(NODES) == len(servers) == 3
    for node in NODES.values():
        settings = load_settings(None, node["environment"], []).settings
        assert settings.nats.servers == tuple(f"nats://{server}:4222" for server in servers)
        assert node["read_only"]
        assert node["cap_drop"] == ["ALL"]
        assert node["security_opt"] == ["no-new-privileges:true"]
    for server in servers:
        routes = next(option for option in COMPOSE["services"][server]["command"] if option.startswith("--routes="))
        assert routes == "--routes=" + ",".join(f"nats://{name}:6222" for name in servers)


def test_prometheus_scrapes_the_nodes_of_the_compose_file() -> None:
    """Every node, by its name, where its metrics are."""
    (job,) = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"{name}:9601" for name in NODES]}]


def test_stops_are_waited_for() -> None:
    """Whoever stops a node gives it as long as it may take."""
    (unit_waits,) = re.findall(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE)
    assert int(unit_waits) > longest_stop(load_settings(str(DEPLOY / "usher.toml"), {}, []).settings)
    for node in NODES.values():
        settings = load_settings(None, node["environment"], []).settings
        assert int(node["stop_grace_period"].removesuffix("s")) > longest_stop(settings)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("check", ["verify --man=no", f"security --offline=true --threshold={WORST_EXPOSURE}"])
def test_unit_satisfies_systemd(check: str, tmp_path: Path) -> None:
    """No key is unknown, and little of the machine is within reach. Its program is not installed here: `true` is."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/usher/bin/usher", "/bin/true"))
    ran = subprocess.run(["systemd-analyze", *check.split(), unit], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Unknown" not in ran.stderr
