"""What a scenario is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.figures import Figure
from benchmarks.stage import Stage


@dataclass(frozen=True, slots=True)
class Scenario:
    """A story on fresh nodes. `run` yields figures as it gets them; `about` is for the report."""

    name: str
    about: str
    nodes: int
    run: Callable[[Stage], Iterator[Figure]]
    limits: str = ""
    """What limits the figures, for the report."""
    compared: bool = True
    """Whether servers other than Usher take part."""


def user_ids(count: int, start: int = 0) -> list[str]:
    """Ids of that many users."""
    return [f"user-{number}" for number in range(start, start + count)]
