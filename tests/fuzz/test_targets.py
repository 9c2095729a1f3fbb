"""CI's minute of fuzzing: every target for its share, from a new seed each time; and a runner that finds what is wrong."""

import secrets

import pytest

from tests.fuzz.target import Target, make_input, run
from tests.fuzz.targets import TARGETS

SECONDS = 45.0
"""For all targets together."""

_SHARES = sum(target.share for target in TARGETS.values())


@pytest.mark.parametrize("name", TARGETS)
def test_decoder_parses_or_raises_what_it_documents_whatever_comes(name: str) -> None:
    """A failure says how to replay it; whoever mends it keeps the input as a test."""
    target = TARGETS[name]
    outcome = run(target, seed=secrets.randbits(32), seconds=SECONDS * target.share / _SHARES, failures=1)
    assert outcome.inputs
    assert not outcome.failures, str(outcome.failures[0])


def fail_at_a_letter(text: str) -> None:
    """A decoder with a bug."""
    if "e" in text:
        raise KeyError(text)


def test_runner_finds_an_input_and_replays_it_when_a_decoder_has_a_bug() -> None:
    """By target, seed and number alone."""
    target = Target("buggy", lambda chance: chance.choice("abcdefgh") * 3, fail_at_a_letter)
    outcome = run(target, seed=7, inputs=1000, failures=2)
    assert len(outcome.failures) == 2
    for failure in outcome.failures:
        assert make_input(target, failure.seed, failure.number) == "eee"
        assert "KeyError" in str(failure)
        assert f"--seed 7 --replay {failure.number}" in str(failure)


def test_runner_ends_when_a_bound_is_met() -> None:
    """Inputs or seconds, whichever comes first."""
    target = Target("quiet", lambda chance: chance.random(), lambda _: None, weight=10)
    assert run(target, inputs=1000).inputs == 1000
    assert run(target, seconds=0.01).seconds < 5
