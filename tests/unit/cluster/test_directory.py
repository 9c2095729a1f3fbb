"""The presence directory in the situations that chance seldom makes; tests/property has the others."""

from cluster.directory import Directory, Edge
from cluster.envelope import Change, Snapshot

_UP = [Edge("s", "ann", up=True)]
_DOWN = [Edge("s", "ann", up=False)]


def _watching() -> Directory:
    directory = Directory("me", retry=1.0)
    directory.peer_up("peer")
    directory.watch("s")
    assert directory.asks(0.0) == {"peer": ["s"]}
    return directory


def _snapshot(number: int, *keys: str) -> Snapshot:
    return Snapshot("peer", "s", number, 0, 1, dict.fromkeys(keys, 1))


def test_changes_before_the_snapshot_are_held_back() -> None:
    """They are told with it, as far as it does not know them."""
    directory = _watching()
    assert directory.receive_change(Change("peer", "s", 4, "bob", 1)).edges == []
    assert directory.receive_change(Change("peer", "s", 5, "ann", None)).edges == []
    outcome = directory.receive_snapshot(_snapshot(4, "ann", "bob"))
    assert outcome.edges == [Edge("s", "ann", up=True), Edge("s", "bob", up=True), *_DOWN]
    assert outcome.ready == ["s"]
    assert outcome.repair is None


def test_a_late_answer_is_not_believed() -> None:
    """It is older than what was heard already; the shard goes on waiting."""
    directory = _watching()
    directory.receive_snapshot(_snapshot(5, "ann"))
    directory.receive_numbers("peer", {"s": 6})
    outcome = directory.receive_snapshot(_snapshot(4))
    assert (outcome.edges, outcome.ready) == ([], [])
    assert not directory.is_ready("s")
    assert directory.receive_snapshot(_snapshot(6)).edges == _DOWN
    assert directory.is_ready("s")


def test_the_later_of_two_answers_is_believed() -> None:
    """The earlier one was given before a change that was not heard."""
    directory = _watching()
    directory.peer_up("peer")
    assert directory.receive_snapshot(_snapshot(5)).ready == ["s"]
    outcome = directory.receive_snapshot(_snapshot(6, "ann"))
    assert (outcome.edges, outcome.ready) == (_UP, [])
    assert directory.receive_snapshot(_snapshot(5)).edges == []
    assert directory.receive_change(Change("peer", "s", 7, "ann", None)).edges == _DOWN


def test_a_gap_is_asked_for_again_once() -> None:
    """And again when the answer is overdue, not before."""
    directory = _watching()
    directory.receive_snapshot(_snapshot(1))
    assert directory.receive_change(Change("peer", "s", 3, "ann", 1)).repair == "gap"
    assert directory.asks(10.0) == {"peer": ["s"]}
    assert directory.receive_change(Change("peer", "s", 4, "ann", None)).repair is None
    assert directory.asks(10.1) == {}
    assert directory.overdue(10.9) == 0
    assert directory.overdue(11.0) == 1
    assert directory.overdue(11.0) == 0
    assert directory.asks(11.0) == {"peer": ["s"]}


def test_a_peer_that_is_gone_is_not_waited_for() -> None:
    """What waits for it alone is ready."""
    directory = _watching()
    assert directory.peer_down("peer", 2.0).ready == ["s"]
    assert directory.is_ready("s")
    assert directory.asks(1.0) == {}
    assert directory.overdue(100.0) == 0


def test_a_user_on_two_nodes_goes_offline_once() -> None:
    """When the last one lets go."""
    directory = _watching()
    directory.receive_snapshot(_snapshot(1, "ann"))
    change, outcome = directory.put("s", "ann", 1)
    assert (change.number, outcome.edges) == (1, [])
    assert directory.peer_down("peer", 2.0).edges == []
    dropped = directory.drop("s", "ann", 0.5)
    assert dropped is not None
    assert dropped[1].edges == [Edge("s", "ann", up=False, age=0.5)]
    assert directory.drop("s", "ann", 0.5) is None
