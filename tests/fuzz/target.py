"""What a fuzz target is, and the loop that runs one.

An input is made from `(name, seed, number)` and from nothing else, so that any failure can be replayed; whoever changes a
generator changes all of its inputs.
"""

import logging
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

import structlog

_LOOK = 256  # inputs between two looks at the clock, for targets with many inputs a second
_SHOWN = 2000  # characters of a failing input


@dataclass(frozen=True, slots=True)
class Target:
    """One decoder. `make` builds an input; `check` raises if the decoder did what it does not document.

    `weight`: how many inputs one counts for. `share`: of the seconds that all targets have together.
    """

    name: str
    make: Callable[[Random], Any]
    check: Callable[[Any], None]
    share: float = 1.0
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Failure:
    """An input that a decoder failed at."""

    target: str
    seed: int
    number: int
    shown: str
    error: str

    def __str__(self) -> str:
        again = f"python -m tests.fuzz {self.target} --seed {self.seed} --replay {self.number}"
        return f"{self.error}\ninput: {self.shown}\nreplay: {again}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to."""

    target: str
    inputs: int
    seconds: float
    failures: tuple[Failure, ...]

    def __str__(self) -> str:
        rate = self.inputs / max(self.seconds, 1e-9)
        return f"{self.target}: {self.inputs} inputs in {self.seconds:.0f} s, {rate:.0f}/s, {len(self.failures)} failures"


Progress = Callable[[int, float], None]
"""Takes the inputs and the seconds so far."""


def make_input(target: Target, seed: int, number: int) -> Any:
    """One input, always the same."""
    return target.make(Random(f"{target.name}/{seed}/{number}"))


def run(
    target: Target,
    *,
    seed: int = 0,
    first: int = 0,
    inputs: int = 1_000_000_000,
    seconds: float = 1e9,
    failures: int = 5,
    progress: Progress = lambda _inputs, _seconds: None,
) -> Outcome:
    """Feed a target until one of the bounds is met; `failures` is one, too."""
    found: list[Failure] = []
    start = time.monotonic()
    every = max(1, _LOOK // target.weight**2)
    number, elapsed = first, 0.0
    with _watched_logs() as logs:
        while (number - first) * target.weight < inputs and elapsed < seconds and len(found) < failures:
            failure = _try(target, seed, number, logs)
            if failure is not None:
                found.append(failure)
            number += 1
            if (number - first) % every == 0:
                elapsed = time.monotonic() - start
                progress((number - first) * target.weight, elapsed)
    return Outcome(target.name, (number - first) * target.weight, time.monotonic() - start, tuple(found))


def _try(target: Target, seed: int, number: int, logs: list[Any]) -> Failure | None:
    value = make_input(target, seed, number)
    try:
        target.check(value)
        error = f"logged: {logs}" if logs else ""
    except Exception:  # noqa: BLE001 - whatever it is, it is a finding
        error = traceback.format_exc()
    logs.clear()
    if not error:
        return None
    shown = repr(value)
    return Failure(target.name, seed, number, shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…", error)


@contextmanager
def _watched_logs() -> Iterator[list[Any]]:
    """Everything that is logged by us, and warnings of everybody."""
    handler = _Collector(logging.WARNING)
    logging.getLogger().addHandler(handler)
    try:
        with structlog.testing.capture_logs() as logs:
            handler.records = logs
            yield logs
    finally:
        logging.getLogger().removeHandler(handler)


class _Collector(logging.Handler):
    records: list[Any]

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record.getMessage())
