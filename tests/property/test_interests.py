"""Interests against a model that keeps a list of everybody's needs."""

from typing import TypeAlias

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cluster.interest import Interests

_keys = st.sampled_from(["a", "b", "c"])
_seconds = st.sampled_from([0.0, 0.5, 1.0, 3.0])
_Key: TypeAlias = str


class InterestsMachine(RuleBasedStateMachine):
    """Acquire, release and let time pass, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.interests: Interests[_Key] = Interests()
        self.needs: dict[_Key, int] = {}
        self.ends: dict[_Key, float] = {}

    @rule(key=_keys)
    def acquire(self, key: _Key) -> None:
        """The first need is told, and no other; a lingering interest has no first."""
        first = key not in self.needs and key not in self.ends
        assert self.interests.acquire(key) is first
        self.ends.pop(key, None)
        self.needs[key] = self.needs.get(key, 0) + 1

    @precondition(lambda self: self.needs)
    @rule(data=st.data(), linger=_seconds)
    def release(self, data: st.DataObject, linger: float) -> None:
        """The last release begins the linger."""
        key = data.draw(st.sampled_from(sorted(self.needs)))
        self.interests.release(key, self.now, linger)
        self.needs[key] -= 1
        if not self.needs[key]:
            del self.needs[key]
            self.ends[key] = self.now + linger

    @rule(key=_keys)
    def release_in_vain(self, key: _Key) -> None:
        """What nobody needs cannot be released."""
        if key not in self.needs:
            with pytest.raises(KeyError):
                self.interests.release(key, self.now, 1.0)

    @rule(passed=_seconds)
    def poll(self, passed: float) -> None:
        """Exactly what has lingered long enough is named, once."""
        self.now += passed
        due = self.interests.poll(self.now)
        assert sorted(due) == sorted(key for key, end in self.ends.items() if end <= self.now)
        for key in due:
            del self.ends[key]

    @invariant()
    def counts_agree(self) -> None:
        """All that can be asked."""
        assert len(self.interests) == len(self.needs) + len(self.ends)
        for key in "abc":
            assert self.interests.count(key) == self.needs.get(key, 0)
            assert (key in self.interests) == (key in self.needs or key in self.ends)


TestInterests = InterestsMachine.TestCase


def test_interest_that_comes_and_goes_takes_no_more_room_each_time() -> None:
    """However often within one linger: anybody who asks the API, or subscribes and unsubscribes, makes it come and go."""
    interests: Interests[str] = Interests()
    for moment in range(1000):
        interests.acquire("a")
        interests.release("a", moment / 100, 30.0)
    assert len(interests._heap) == 1
    assert interests.poll(39.98) == []
    assert interests.poll(39.99) == ["a"]
    assert interests._heap == []
    assert interests._queued == {}
