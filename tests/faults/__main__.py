"""Run scenarios by hand: `python -m tests.faults rolling --users 3000 --seed 7`."""

import argparse
import sys
import tempfile
from pathlib import Path

import trio

from tests.faults.scenario import run, tell
from tests.faults.scenarios import LONG


def main() -> int:
    """Run what the arguments say; 1 if anything was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Break things, and see who notices.")
    parser.add_argument("scenarios", nargs="*", metavar="scenario", help=f"of {', '.join(LONG)} (default: all)")
    parser.add_argument("--seed", type=int, default=1, help="of every choice (default %(default)s)")
    parser.add_argument("--users", type=int, help="how many (default: the scenario's own number)")
    parser.add_argument("--keep", type=Path, help="where logs are to stay")
    arguments = parser.parse_args()
    if unknown := set(arguments.scenarios) - set(LONG):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(LONG)}")
    results = []
    for name in arguments.scenarios or LONG:
        with tempfile.TemporaryDirectory() as place:
            directory = (arguments.keep or Path(place)) / name
            directory.mkdir(parents=True, exist_ok=True)
            report = trio.run(run, LONG[name], directory, arguments.seed, arguments.users)
        tell(report)
        results.append(report.is_good)
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
