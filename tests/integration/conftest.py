"""Real processes for the tests of this folder: started by a test, stopped after it, and healthy to the end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.support import APPS
from tests.processes import Processes


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Nodes and nats-servers of one test. No node may log an error or a traceback, until its last breath."""
    with Processes(tmp_path, APPS) as started:
        yield started
    problems = {node.name: node.log.problems() for node in started.nodes}
    assert {name: lines for name, lines in problems.items() if lines} == {}
