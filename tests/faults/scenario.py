"""What a scenario is, how one is run, and what it reports."""

import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import trio

from tests.faults.ledger import Violation
from tests.faults.oracle import judge, summary
from tests.faults.stage import Stage, set_stage

SHOWN = 20

Play = Callable[[Stage, trio.Nursery, int], Awaitable[None]]
"""Do it, with so many users; clients live in the nursery. What is broken in the end is mended before it returns."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """`env` is what nodes get, `bounds` what the oracle gets (see `oracle.Bounds`)."""

    name: str
    play: Play
    users: int
    bounds: Mapping[str, float] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """What came of one run."""

    scenario: str
    seed: int
    users: int
    seconds: float
    figures: Mapping[str, object]
    violations: list[Violation]
    failures: list[str]
    problems: list[str]
    timeline: list[tuple[float, str]]

    @property
    def is_good(self) -> bool:
        """Whether every promise was kept."""
        return not (self.violations or self.failures or self.problems)

    def __str__(self) -> str:
        lines = [f"{self.scenario}: {'all kept' if self.is_good else 'VIOLATED'} in {self.seconds:.0f} s"]
        lines += [f"  {name}: {value}" for name, value in self.figures.items()]
        if not self.is_good:
            lines += [f"  {at:8.3f} {text}" for at, text in self.timeline]
            lines += [f"  violations: {dict(summary(self.violations))}"] if self.violations else []
            lines += [f"  {v.at:8.3f} {v.kind}: {v.text}" for v in self.violations[:SHOWN]]
            lines += [f"  failed: {text}" for text in self.failures[:SHOWN]]
            lines += [f"  logged: {text}" for text in self.problems[:SHOWN]]
        lines.append(f"  replay: python -m tests.faults {self.scenario} --seed {self.seed} --users {self.users}")
        return "\n".join(lines)


async def run(scenario: Scenario, directory: Path, seed: int, users: int | None = None) -> Report:
    """Run one scenario to its end, and judge it."""
    users = scenario.users if users is None else users
    start = time.monotonic()
    with set_stage(directory, seed, env=scenario.env) as stage:
        async with trio.open_nursery() as nursery:
            await scenario.play(stage, nursery, users)
            case = stage.case(**scenario.bounds)
            stage.figures |= _figures(stage)
            nursery.cancel_scope.cancel()
    violations = [Violation(v.kind, v.at - stage.start, v.text) for v in judge(case)]
    return Report(
        scenario.name,
        seed,
        users,
        time.monotonic() - start,
        stage.figures,
        violations,
        stage.failures,
        stage.problems(),
        stage.timeline,
    )


def _figures(stage: Stage) -> dict[str, object]:
    """What every run tells."""
    stays = [stay for ledger in stage.crowd.ledgers for stay in ledger.stays]
    frames = sum(len(stay.heard) for stay in stays)
    statuses: dict[int, int] = {}
    for event in stage.published:
        statuses[event.status] = statuses.get(event.status, 0) + 1
    return {
        "connections, watchlist frames": f"{len(stays)}, {frames}",
        "events by status": dict(sorted(statuses.items())),
        "flaps, repairs, errors, forced closes, from /metrics": ", ".join(
            f"{stage.total(name):.0f}"
            for name in ("presence_flaps_total", "presence_repairs_total", "errors_total", "forced_closes_total")
        ),
    }


def tell(report: Report) -> None:
    """Print it."""
    sys.stdout.write(f"{report}\n\n")
    sys.stdout.flush()
