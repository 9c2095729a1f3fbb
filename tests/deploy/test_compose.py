"""The compose file, run: its commands and variables as processes, each at an address of this machine instead of a name.

What only containers can show (mounts, rights) is in `test_image.py`, and what is checked without running in
`test_examples.py`. Grafana is not run.
"""

import json
import re
import shutil
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import yaml

from node.config.apps import load_apps
from tests.api_client import ApiClient
from tests.client import Client, Credentials
from tests.deploy.test_examples import DEPLOY
from tests.integration.support import eventually
from tests.processes import Processes, Program, answers_200, nats_server_path

pytestmark = pytest.mark.slow

PORTS = {"node": "9601/readyz", "nats": "8222/healthz", "prometheus": "9090/-/ready"}
"""Where each kind of service says that it is ready."""

HURRY = {"USHER_DRAIN__DELAY": "0", "USHER_DRAIN__SPREAD": "0", "USHER_PRESENCE__DRAIN_LINGER": "0"}
"""Nobody here comes back elsewhere."""


def address(name: str) -> str:
    """A service's own address."""
    kind, _, number = name.partition("-")
    return f"127.73.{list(PORTS).index(kind)}.{number or 1}"


def resolved(text: str, name: str) -> str:
    """A text of the compose file's, as its service is to read it: addresses for names, and its own for all of them."""
    named = re.sub(r"\b(?:node|nats)-\d\b|(?<=//)prometheus\b", lambda match: address(match[0]), text)
    return named.replace("0.0.0.0", address(name))  # noqa: S104 - which is what is taken away here


class Service(Program):
    """One service of the compose file."""

    def __init__(self, name: str, definition: dict[str, Any], directory: Path) -> None:
        definition = json.loads(resolved(json.dumps(definition), name))
        self.address = address(name)
        self._ready_url = f"http://{self.address}:{PORTS[name.partition('-')[0]]}"
        start: Callable[..., tuple[list[str], dict[str, str]]] = getattr(self, f"_{name.partition('-')[0]}")
        command, env = start(definition, directory)
        super().__init__(name, command, directory, env)

    def is_ready(self) -> bool:
        """As its kind says it."""
        return answers_200(self._ready_url)

    def _nats(self, definition: dict[str, Any], _: Path) -> tuple[list[str], dict[str, str]]:
        return [nats_server_path(), "--addr", self.address, *definition["command"]], {}

    def _node(self, definition: dict[str, Any], directory: Path) -> tuple[list[str], dict[str, str]]:
        of_the_image = {"USHER_HOST": self.address, "USHER_OPS_HOST": self.address} | HURRY
        shutil.copy(DEPLOY / "apps.toml", directory)
        return [sys.executable, "-m", "node", "serve"], of_the_image | definition["environment"]

    def _prometheus(self, _: dict[str, Any], directory: Path) -> tuple[list[str], dict[str, str]]:
        program = shutil.which("prometheus")
        if program is None:
            pytest.skip("prometheus is not installed")
        config = resolved((DEPLOY / "prometheus" / "prometheus.yml").read_text(), "prometheus").replace("15s", "1s")
        (directory / "prometheus.yml").write_text(config)
        shutil.copy(DEPLOY / "prometheus" / "rules.yml", directory)
        paths = ["--config.file=prometheus.yml", f"--storage.tsdb.path={directory / 'tsdb'}"]
        return [program, *paths, f"--web.listen-address={self.address}:9090", "--log.level=warn"], {}


@pytest.fixture
def services(tmp_path: Path) -> Iterator[dict[str, Service]]:
    """Everything that the compose file starts, but Grafana; in its order."""
    definitions = yaml.safe_load((DEPLOY / "compose.yml").read_text())["services"]
    del definitions["grafana"]
    with Processes(tmp_path, "") as processes:
        started = {name: Service(name, definition, tmp_path) for name, definition in definitions.items()}
        for service in started.values():
            processes.start(service)
        for service in started.values():
            service.wait_ready()
        yield started
    assert {name: service.log.problems() for name, service in started.items() if service.log.problems()} == {}


def get(service: Service, path: str) -> Any:
    """The JSON that a service answers with."""
    with urllib.request.urlopen(f"http://{service.address}:{path}", timeout=5) as response:
        return json.load(response)


def value(prometheus: Service, expression: str) -> float:
    """The one value of an expression, or not a number."""
    result = get(prometheus, f"9090/api/v1/query?query={expression}")["data"]["result"]
    return float(result[0]["value"][1]) if result else float("nan")


async def test_compose_file_makes_a_cluster_that_prometheus_sees(services: dict[str, Service]) -> None:
    """Every NATS server knows the others, an event crosses from the last node to the first, and all three are scraped."""
    for number in (1, 2, 3):
        routes = get(services[f"nats-{number}"], "8222/routez")["routes"]
        assert len({route["remote_id"] for route in routes}) == 2
    app = load_apps(DEPLOY / "apps.toml")[1]
    credentials = Credentials(app.id, app.key, app.secrets[0])
    async with trio.open_nursery() as nursery:
        client = Client(credentials, [6001], host=services["node-1"].address)
        nursery.start_soon(client.run)
        await client.until(lambda: client.socket_id)
        await client.sign_in("ada")
        backend = ApiClient(credentials, 6001, host=services["node-3"].address)
        assert (await backend.send_to_user("ada", "hello", "you")).status == 200
        await client.until(lambda: client.events)
        await eventually(lambda: value(services["prometheus"], "sum(up)") == 3, "all are scraped")
        await eventually(lambda: value(services["prometheus"], "min(usher_peers)") == 2, "each knows the others")
        await eventually(lambda: value(services["prometheus"], "job:usher_connections:sum") == 1, "the rules are at work")
        await client.close()
        await backend.aclose()
