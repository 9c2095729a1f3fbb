"""The scenarios, each with what it shows."""

from tests.faults.scenario import Scenario
from tests.faults.scenarios.away import away
from tests.faults.scenarios.jumping import jumping
from tests.faults.scenarios.killing import killing
from tests.faults.scenarios.mixed import mixed
from tests.faults.scenarios.parting import cut_bus, cut_routes, parting, pause, stall_bus, stall_routes
from tests.faults.scenarios.rolling import rolling
from tests.faults.scenarios.slow import slow
from tests.faults.scenarios.terminating import terminating


def _by_name(*scenarios: Scenario) -> dict[str, Scenario]:
    return {scenario.name: scenario for scenario in scenarios}


LONG = _by_name(
    rolling(3000, 15),
    killing(600, 12, with_nats=False),
    killing(600, 12, with_nats=True),
    parting("paused", pause, 300, 30),
    parting("routes-cut", cut_routes, 300, 20),
    parting("routes-stalled", stall_routes, 300, 20),
    parting("bus-cut", cut_bus, 300, 20),
    parting("bus-stalled", stall_bus, 300, 20),
    away(300, 30),
    terminating(25, 1000),
    slow(100, 8, 6),
    jumping(300, 5),
    mixed(60, 200),
)
"""By name, as they are run by hand."""

SHORT = _by_name(
    rolling(120, 2),
    killing(90, 1, with_nats=False),
    killing(90, 1, with_nats=True),
    parting("paused", pause, 60, 6, lease=4),
    parting("routes-cut", cut_routes, 60, 4),
    parting("bus-stalled", stall_bus, 60, 4),
    away(60, 4),
    terminating(10, 100),
    slow(40, 3, 3),
    jumping(40, 0.5),
    mixed(30, 4),
)
"""The same promises, as CI checks them."""
