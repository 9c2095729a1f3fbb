"""Runs scenarios on servers, interleaved, so that what else the machine does falls on all alike."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.figures import Figure
from benchmarks.scenarios.scenario import Scenario
from benchmarks.servers import Server
from benchmarks.sockets import LoadError
from benchmarks.stage import Options, Stage


@dataclass(frozen=True, slots=True)
class Turn:
    """One scenario on one server, once."""

    scenario: Scenario
    server: Server
    run: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a turn gave: figures, and why it ended early (empty: it did not)."""

    turn: Turn
    figures: tuple[Figure, ...]
    failure: str = ""


def make_turns(scenarios: Sequence[Scenario], servers: Sequence[Server], runs: int) -> list[Turn]:
    """All turns: of a scenario's runs, each has every server in it that can run it."""
    return [
        Turn(scenario, server, run)
        for scenario in scenarios
        for run in range(runs)
        for number, server in enumerate(servers)
        if (number == 0 or scenario.compared) and not server.why_not(scenario.nodes)
    ]


def take(turns: Sequence[Turn], options: Options, say: Callable[[Turn, str], None]) -> Iterator[Outcome]:
    """Take the turns, one after the other. A turn that fails does not end the others."""
    for turn in turns:
        figures: list[Figure] = []
        failure = ""
        try:
            with Stage(turn.server, turn.scenario.nodes, options, lambda text, turn=turn: say(turn, text)) as stage:  # type: ignore[misc]
                found = turn.scenario.run(stage)
                figures.extend(figure for figure in found if not math.isnan(figure.value))  # what came before an error stays
        except (LoadError, OSError, RuntimeError) as error:
            failure = str(error)
        yield Outcome(turn, tuple(figures), failure)
