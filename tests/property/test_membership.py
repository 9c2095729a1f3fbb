"""Membership: who lives is never lost, who is gone is found, whatever the timing."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from cluster.envelope import Heartbeat
from cluster.membership import Lost, Membership, MembershipSettings, Met, Probe

_SETTINGS = MembershipSettings()
_TICK = 0.1
_START = 10.0  # the bus is up since 0 and has settled


def _beat(number: int, node: str = "peer", *, leaving: bool = False) -> Heartbeat:
    return Heartbeat(node, "server", number, 256, leaving=leaving)


@dataclass
class _Run:
    """One node's membership, driven by an agenda of beats; probes are answered by `answer`."""

    answer: str = "pong"  # "pong", "nobody", "silence"
    membership: Membership = field(default_factory=lambda: Membership(_SETTINGS))
    met: list[Met] = field(default_factory=list)
    lost: list[tuple[float, Lost]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.membership.bus_up(0.0)

    def run(self, beats: list[tuple[float, int]], until: float, pauses: list[tuple[float, float]] = []) -> None:  # noqa: B006
        """Tick until then; during a pause nothing happens, afterwards all that has collected."""
        agenda = list(beats)
        heapq.heapify(agenda)
        now = _START
        while now < until:
            now += _TICK
            for start, length in pauses:
                if start <= now < start + length:
                    now = start + length
            while agenda and agenda[0][0] <= now:
                at, number = heapq.heappop(agenda)
                self._note(now, self.membership.heard(_beat(number), now if pauses else at))
            self._poll(now)

    def _poll(self, now: float) -> None:
        for event in self.membership.poll(now):
            match event:
                case Lost():
                    self._note(now, [event])
                case Probe(node) if self.answer == "pong":
                    self.membership.answered(node, now)
                case Probe(node) if self.answer == "nobody":
                    self._note(now, self.membership.unanswerable(node, now))
                case Probe():
                    pass

    def _note(self, now: float, events: Sequence[Met | Lost]) -> None:
        for event in events:
            if isinstance(event, Met):
                self.met.append(event)
            else:
                self.lost.append((now, event))


def _beats(delays: list[float]) -> list[tuple[float, int]]:
    """A beat each second, each with its delay."""
    return [(_START + number + delay, number) for number, delay in enumerate(delays)]


@given(st.lists(st.floats(0, 0.4), min_size=3, max_size=20), st.sampled_from(["nobody", "silence"]))
def test_a_peer_that_keeps_beating_is_never_lost(delays: list[float], answer: str) -> None:
    """However late its beats are, within reason, and whatever becomes of probes."""
    run = _Run(answer)
    run.run(_beats(delays), _START + len(delays))
    assert not run.lost
    assert run.met == [Met("peer")]


@given(st.lists(st.booleans(), min_size=3, max_size=30))
def test_a_peer_that_answers_probes_is_never_lost(heard: list[bool]) -> None:
    """Even if most of its beats are."""
    run = _Run("pong")
    run.run(
        [beat for beat, arrives in zip(_beats([0.0] * len(heard)), [True, *heard], strict=False) if arrives],
        _START + len(heard),
    )
    assert not run.lost


@given(st.integers(1, 5), st.floats(0, 0.9))
def test_a_peer_that_is_gone_is_lost_within_the_bound(beats: int, phase: float) -> None:
    """Once, and three seconds after its last beat at the latest; not at its first missing beat."""
    run = _Run("nobody")
    run.run(_beats([phase] * beats), _START + beats + 10)
    last = _START + beats - 1 + phase
    assert len(run.lost) == 1
    at, lost = run.lost[0]
    assert _SETTINGS.probe_after + _SETTINGS.probe_interval <= at - last + 1e-9 <= 3.0 - _TICK
    assert abs(lost.silent - (at - last)) <= _TICK + 1e-6


@given(st.integers(1, 5))
def test_a_peer_that_is_only_slow_lives_until_its_lease_ends(beats: int) -> None:
    """It holds its subject, but nothing comes from it."""
    run = _Run("silence")
    run.run(_beats([0.0] * beats), _START + beats + 15)
    assert [lost.why for _, lost in run.lost] == ["lease ended"]
    assert _SETTINGS.lease <= run.lost[0][1].silent <= _SETTINGS.lease + 2 * _TICK


@given(
    st.floats(11, 14),
    st.floats(0.1, 60),
    st.sampled_from(["pong", "silence"]),
)
def test_a_pause_of_this_node_loses_nobody(start: float, length: float, answer: str) -> None:
    """Neither when the peer's beats are heard late, after the pause, nor when the bus has dropped them."""
    for kept in (True, False):
        run = _Run(answer)
        beats = _beats([0.0] * 100)
        if not kept:
            beats = [beat for beat in beats if not start <= beat[0] < start + length]
        run.run(beats, start + length + 5, [(start, length)])
        assert not run.lost


@given(st.sets(st.integers(1, 19), max_size=10))
def test_a_gap_in_the_beats_is_met_again(missing: set[int]) -> None:
    """One meeting for each gap, since changes may be lost with the beats; none without."""
    run = _Run("pong")
    run.run([beat for beat in _beats([0.0] * 21) if beat[1] not in missing], _START + 21)
    gaps = sum(1 for number in range(1, 21) if number not in missing and number - 1 in missing)
    assert len(run.met) == 1 + gaps
    assert all(met.again for met in run.met[1:])
    assert not run.lost


@given(st.lists(st.integers(0, 6), max_size=12))
def test_late_and_repeated_beats_are_no_gap(numbers: list[int]) -> None:
    """Only a number that is more than one ahead of the highest is."""
    membership = Membership(_SETTINGS)
    membership.bus_up(0.0)
    highest = -1
    for number in numbers:
        events = membership.heard(_beat(number), 1.0)
        assert bool(events) == (highest == -1 or number > highest + 1)
        highest = max(highest, number)


@given(st.floats(0, 3.9))
def test_nobody_is_lost_before_the_bus_has_settled(silent: float) -> None:
    """After a restart of NATS the peers come back one by one."""
    membership = Membership(_SETTINGS)
    membership.bus_up(0.0)
    membership.heard(_beat(1), 0.0)
    membership.bus_down()
    assert membership.poll(1.0) == []
    membership.bus_up(100.0)
    for _ in range(5):
        assert membership.unanswerable("peer", 100.0 + silent) == []


def test_a_peer_that_says_goodbye_is_lost_at_once_and_meant_so() -> None:
    """And what else it says while it leaves does not bring it back."""
    membership = Membership(_SETTINGS)
    membership.bus_up(0.0)
    membership.heard(_beat(1), 1.0)
    (lost,) = membership.heard(_beat(1, leaving=True), 1.5)
    assert isinstance(lost, Lost)
    assert lost.why == "left"
    assert membership.heard(_beat(2, leaving=True), 2.5) == []
    assert not membership.peers
