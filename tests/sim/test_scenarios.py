"""Hundreds of simulated clusters. One that fails is replayed by `python -m tests.sim --seed <seed> -v`."""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import pytest

from tests.sim.crash_scenario import run_crash
from tests.sim.faults import FAULTS
from tests.sim.mutants import CRASH_MUTANTS, HABITS, MUTANTS, ROOM_MUTANTS, Mutant
from tests.sim.room_scenario import USUAL, run_rooms
from tests.sim.scenario import Report, run

_MANY = 90  # seeds; whoever changes the cluster runs thousands: `python -m tests.sim --seeds 5000`
_MANY_ROOMS = 60
_MANY_CRASHES = 100
_BLAMELESS = 6  # that many are enough to find the mutants
_HUNT = 150  # seeds in which every mutant is found many times over


def test_simulated_clusters_keep_every_promise() -> None:
    """Whatever goes wrong."""
    _run_many(str(_MANY))


def test_simulated_channels_keep_every_promise() -> None:
    """Members, counts, events and cached events."""
    _run_many(str(_MANY_ROOMS), "--rooms")


def test_simulated_crashes_are_noticed_by_nobody_who_watches_those_who_are_back_in_time() -> None:
    """Though their new node needs what the dead one knew."""
    _run_many(str(_MANY_CRASHES), "--crash")


def _run_many(*arguments: str) -> None:
    command = [sys.executable, "-m", "tests.sim", "--seeds", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]


@pytest.mark.parametrize("seed", [1, 3])
@pytest.mark.parametrize("profile", FAULTS)
def test_a_simulation_repeats_itself_when_its_seed_does(profile: str, seed: int) -> None:
    """Two runs of one seed are the same to the last event; 1 has the model's hub, 3 the real one."""
    _repeats(run, profile, seed)


@pytest.mark.parametrize("profile", FAULTS)
def test_a_simulation_of_channels_repeats_itself_when_its_seed_does(profile: str) -> None:
    """The same."""
    _repeats(run_rooms, profile, 2)


@pytest.mark.parametrize("seed", [1, 3])
def test_a_simulated_crash_repeats_itself_when_its_seed_does(seed: int) -> None:
    """The same."""
    _repeats(run_crash, "crash", seed)


@pytest.mark.parametrize("kind", [["--profile", "move"], ["--profile", "move", "--rooms"]], ids=["users", "rooms"])
def test_a_simulation_is_the_same_whatever_python_hashes_strings_to(kind: list[str]) -> None:
    """So a seed that failed elsewhere fails here, and a mutant that is found is found everywhere."""
    command = [sys.executable, "-m", "tests.sim", "--seed", "9", "-v", *kind]
    environments = [{**os.environ, "PYTHONHASHSEED": seed} for seed in ("1", "2")]
    first, second = (subprocess.run(command, env=env, capture_output=True, timeout=60, check=True) for env in environments)
    assert first.stdout == second.stdout


def _repeats(run: Callable[[int, str], Report], profile: str, seed: int) -> None:
    first, second = run(seed, profile), run(seed, profile)
    assert first.timeline == second.timeline
    assert not first.violations


@pytest.mark.parametrize("name", HABITS)
def test_unusual_users_of_channels_find_nothing_when_the_cluster_lacks_nothing(name: str) -> None:
    """What shows a mutant is no complaint about what is right."""
    for seed in range(_BLAMELESS):
        assert not run_rooms(seed, ROOM_MUTANTS[name].profile, habits=HABITS[name]).violations


@pytest.mark.parametrize("name", MUTANTS)
def test_a_simulation_finds_what_is_wrong_when_the_cluster_lacks(name: str) -> None:
    """Each thing that makes the cluster right is taken out once, and missed."""
    _find(MUTANTS[name], run)


@pytest.mark.parametrize("name", ROOM_MUTANTS)
def test_a_simulation_of_channels_finds_what_is_wrong_when_the_cluster_lacks(name: str) -> None:
    """The same."""
    _find(ROOM_MUTANTS[name], partial(run_rooms, habits=HABITS.get(name, USUAL)))


@pytest.mark.parametrize("name", CRASH_MUTANTS)
def test_a_simulated_crash_is_noticed_when_the_cluster_lacks(name: str) -> None:
    """The same."""
    _find(CRASH_MUTANTS[name], run_crash)


def _find(mutant: Mutant, run: Callable[[int, str], Report]) -> None:
    for seed in range(_HUNT):
        with mutant.applied():
            report = run(seed, mutant.profile)
        if any(mutant.complaint in violation for violation in report.violations):
            return
    pytest.fail(f"nothing found in {_HUNT} seeds")
