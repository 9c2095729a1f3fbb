"""Three nodes on a real NATS for the whole folder, and a browser for each test.

A test fails if a node logged an error or a traceback during it, or if a tab saw something that the test did not expect.
"""

import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.client import Credentials
from tests.compat.apps import APPS, MAIN
from tests.compat.backend import Backend
from tests.compat.browser import Browser, open_browser
from tests.processes import Node, Processes

BackendAt = Callable[..., Backend]
Nodes = tuple[Node, Node, Node]


@pytest.fixture(scope="package")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """The cluster."""
    with Processes(tmp_path_factory.mktemp("compat"), APPS) as processes:
        processes.start_nodes(3, processes.start_nats())
        yield processes


@pytest.fixture
def nodes(processes: Processes) -> Iterator[Nodes]:
    """Three nodes, none of which may log a problem in the test."""
    first, second, third = processes.nodes
    with processes.no_problems():
        yield first, second, third


@pytest.fixture(scope="package")
def node_js() -> None:
    """Node.js with the packages of package.json; without, a person's test is skipped, and CI's fails."""
    missing = ""
    if shutil.which("node") is None:
        missing = "Node.js is not installed"
    elif not Path(__file__).with_name("node_modules").is_dir():
        missing = "run `npm ci --ignore-scripts` in tests/compat"
    if missing:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(missing)


@pytest.fixture
async def browser(node_js: None, tmp_path: Path) -> AsyncIterator[Browser]:
    """A browser without tabs, whose tabs must have seen nothing that the test did not take."""
    async with open_browser(tmp_path / "driver.log") as browser:
        yield browser
    assert {name: unseen for name, tab in browser.tabs.items() if (unseen := tab.unseen())} == {}


@pytest.fixture
async def backend() -> AsyncIterator[BackendAt]:
    """`backend(node, app)`: the application's backend, at one node's HTTP API."""
    backends: list[Backend] = []

    def make_backend(node: Node, app: Credentials = MAIN) -> Backend:
        backends.append(Backend(node, app))
        return backends[-1]

    yield make_backend
    for backend in backends:
        await backend.aclose()
