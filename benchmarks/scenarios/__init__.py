"""The stories that are told to servers, one in each file; their order here is that of the report."""

from benchmarks.scenarios import crowd, fanout, growth, latency, nodes, one_node, storm, termination, two_nodes
from benchmarks.scenarios.scenario import Scenario

ALL: tuple[Scenario, ...] = (
    *one_node.SCENARIOS,
    two_nodes.SCENARIO,
    fanout.SCENARIO,
    latency.SCENARIO,
    termination.SCENARIO,
    storm.SCENARIO,
    growth.SCENARIO,
    nodes.SCENARIO,
    crowd.SCENARIO,
)
