"""A node keeps to openapi.json, whatever schemathesis thinks of: what is valid is done, what is not is refused in order.

schemathesis.toml says what it is told, signing.py signs. What is not signed has a test of its own.
"""

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.api.openapi import FILE
from tests.fuzz.signing import APP
from tests.processes import LOOPBACK, Node, Processes

SECONDS = 25
HERE = Path(__file__).parent
APPS = f"""
[[apps]]
id = "{APP.app_id}"
key = "{APP.key}"
secret = "{APP.secret}"
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node that may log no problem."""
    with Processes(tmp_path_factory.mktemp("fuzz"), APPS) as processes:
        (node,) = processes.start_nodes(1)
        with processes.no_problems():
            yield node


@pytest.mark.slow
def test_node_keeps_to_the_document_when_anything_is_asked(node: Node, tmp_path: Path) -> None:
    """Statuses, schemas, headers, methods; the seed of what fails is in the output."""
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml")),
        *("run", str(FILE), "--url", node.url, "--phases", "examples,coverage,fuzzing"),
        *("--max-time", str(SECONDS), "--no-color"),
    ]
    env = os.environ | {"SCHEMATHESIS_HOOKS": "tests.fuzz.signing", "PYTHONPATH": str(HERE.parents[1])}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=3 * SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_node_refuses_what_is_not_signed(node: Node) -> None:
    """Every operation of the document, with 401."""
    statuses = {}
    for path, operations in json.loads(FILE.read_text())["paths"].items():
        for method in operations:
            connection = http.client.HTTPConnection(LOOPBACK, node.port, timeout=10)
            named = path.format(app=APP.app_id, channel="presence-x", user="x")
            connection.request(method.upper(), f"{named}?auth_key={APP.key}", body="{}" if method == "post" else None)
            statuses[method, path] = connection.getresponse().status
            connection.close()
    assert statuses
    assert set(statuses.values()) == {401}, statuses
