"""Run fuzz targets: `python -m tests.fuzz messages --inputs 1000000`; `tests/fuzz/__init__.py` says more."""

import argparse
import sys

from tests.fuzz.target import Outcome, Progress, Target, make_input, run
from tests.fuzz.targets import TARGETS


def main() -> int:
    """Run what the arguments say; 1 if a decoder failed at anything."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Feed decoders hostile input.")
    parser.add_argument("targets", nargs="*", metavar="target", help="which (default: all)")
    parser.add_argument("--list", action="store_true", help="name the targets and end")
    parser.add_argument("--inputs", type=int, default=10_000, help="so many for each (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=1e9, help="so long for each at most")
    parser.add_argument("--seed", type=int, default=0, help="which inputs (default %(default)s)")
    parser.add_argument("--replay", type=int, metavar="NUMBER", help="only the input of this number, shown whole")
    arguments = parser.parse_args()
    if unknown := set(arguments.targets) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    chosen = [TARGETS[name] for name in arguments.targets or TARGETS]
    if arguments.list:
        sys.stdout.write("".join(f"{target.name}\n" for target in chosen))
        return 0
    if arguments.replay is not None:
        return _replay(chosen[0], arguments.seed, arguments.replay)
    return max(_run(target, arguments) for target in chosen)


def _replay(target: Target, seed: int, number: int) -> int:
    sys.stdout.write(f"{make_input(target, seed, number)!r}\n")
    return _report(run(target, seed=seed, first=number, inputs=target.weight))


def _run(target: Target, arguments: argparse.Namespace) -> int:
    progress = _progress_line(target.name, arguments.inputs)
    return _report(run(target, seed=arguments.seed, inputs=arguments.inputs, seconds=arguments.seconds, progress=progress))


def _report(outcome: Outcome) -> int:
    clear = "\r\x1b[K" if sys.stderr.isatty() else ""
    sys.stderr.write(clear)
    sys.stdout.write("".join(f"{failure}\n" for failure in outcome.failures) + f"{outcome}\n")
    sys.stdout.flush()
    return bool(outcome.failures)


def _progress_line(name: str, inputs: int) -> Progress:
    """A line that is written over, where somebody looks."""

    def show(done: int, seconds: float) -> None:
        sys.stderr.write(f"\r{name}: {done} of {inputs}, {done / max(seconds, 1e-9):.0f}/s, {seconds:.0f} s ")
        sys.stderr.flush()

    def hide(_done: int, _seconds: float) -> None:
        return

    return show if sys.stderr.isatty() else hide


if __name__ == "__main__":
    sys.exit(main())
