"""Run simulations: `python -m tests.sim --seed 7 -v` replays one, `python -m tests.sim --seeds 5000` runs many."""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat

from tests.sim.crash_scenario import run_crash
from tests.sim.faults import FAULTS
from tests.sim.room_scenario import run_rooms
from tests.sim.scenario import Report
from tests.sim.scenario import run as run_users


def main() -> int:
    """Run what the arguments say; 1 if anything was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description="Simulate clusters.")
    parser.add_argument("--seed", type=int, help="replay this one")
    parser.add_argument("--seeds", type=int, default=1000, help="run so many (default %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="begin with this seed (default %(default)s)")
    parser.add_argument("--profile", choices=list(FAULTS), help="what goes wrong (default: the seed says)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default %(default)s)")
    parser.add_argument("-v", "--verbose", action="store_true", help="with --seed: print a timeline")
    parser.add_argument("--rooms", action="store_true", help="channels with members instead of users with watchlists")
    parser.add_argument("--crash", action="store_true", help="one node that dies, whose users come back elsewhere in time")
    arguments = parser.parse_args()
    run = run_rooms if arguments.rooms else run_crash if arguments.crash else run_users
    if arguments.seed is not None:
        return _replay(run(arguments.seed, arguments.profile), verbose=arguments.verbose)
    return _run_many(run, range(arguments.first, arguments.first + arguments.seeds), arguments.profile, arguments.jobs)


def _replay(report: Report, *, verbose: bool) -> int:
    if verbose:
        for at, text in report.timeline:
            sys.stdout.write(f"{at:9.4f}  {text}\n")
    sys.stdout.write(f"{report}\n{len(report.violations)} violations\n")
    return bool(report.violations)


def _run_many(run: Callable[[int, str | None], Report], seeds: range, profile: str | None, jobs: int) -> int:
    start, failed, profiles = time.monotonic(), list[Report](), Counter[str]()
    with ProcessPoolExecutor(jobs) as pool:
        for done, report in enumerate(pool.map(run, seeds, repeat(profile), chunksize=8), start=1):
            profiles[report.profile] += 1
            if report.violations:
                failed.append(report)
                sys.stdout.write(f"\n{report}\n")
            if sys.stdout.isatty() or done % 100 == 0 or done == len(seeds):
                sys.stdout.write(f"\r{done} of {len(seeds)} seeds, {len(failed)} failed, {time.monotonic() - start:.0f} s ")
                sys.stdout.flush()
    sys.stdout.write("\n" + ", ".join(f"{name} {number}" for name, number in sorted(profiles.items())) + "\n")
    if failed:
        sys.stdout.write("failed: " + " ".join(str(report.seed) for report in failed) + "\n")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
