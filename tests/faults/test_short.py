"""Every scenario, short: seconds where the long runs by hand take minutes (`python -m tests.faults`)."""

from pathlib import Path

import pytest

from tests.faults.scenario import Scenario, run, tell
from tests.faults.scenarios import SHORT


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SHORT.values(), ids=SHORT)
async def test_promises_are_kept_when(scenario: Scenario, tmp_path: Path) -> None:
    """By the ledgers of all clients, by every node's answers, metrics and logs."""
    report = await run(scenario, tmp_path, seed=1)
    tell(report)
    assert report.is_good, report
