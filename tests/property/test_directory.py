"""The directory against every order, loss and repetition of messages.

Three nodes write and watch. Whatever happens to the messages in between, each watcher's edges alternate and agree with what
`is_up` says, and every other value is named as changed; and once messages come through, heartbeats and questions alone bring
every view to the truth.
"""

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cluster.directory import Directory, Outcome
from cluster.envelope import Ask, Change, Heartbeat, Snapshot

_NODES = ("n0", "n1", "n2")
_SHARDS = ("s", "t")
_KEYS = ("a", "b")
_nodes = st.sampled_from(_NODES)
_shards = st.sampled_from(_SHARDS)
_keys = st.sampled_from(_KEYS)
_values = st.integers(1, 2)
_pairs = st.tuples(_nodes, _nodes).filter(lambda pair: pair[0] != pair[1])

_Message = Change | Ask | Snapshot | Heartbeat


def _is_busy(machine: "DirectoryMachine") -> bool:
    return any(machine.flying.values())


def _may_lose(machine: "DirectoryMachine") -> bool:
    return machine.lossy and _is_busy(machine)


class DirectoryMachine(RuleBasedStateMachine):
    """Messages of one publisher stay in order, as the bus promises; any of them may be lost or come twice."""

    disorder = False
    lossy = True

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.nodes = {name: Directory(name, retry=1.0) for name in _NODES}
        self.flying: dict[tuple[str, str], deque[_Message]] = {
            (sender, receiver): deque() for sender in _NODES for receiver in _NODES if sender != receiver
        }
        self.met: set[tuple[str, str]] = set()
        self.history: dict[tuple[str, str, int], dict[str, int]] = {}  # by (node, shard, number): its entries then
        self.seen: dict[tuple[str, str, str], int] = {}  # by (watcher, peer, shard): the number last seen
        self.told: dict[tuple[str, str, str], bool] = {}  # by (watcher, shard, key): what its edges add up to
        self.read: dict[tuple[str, str, str], dict[str, int]] = {}  # by the same: what was read when it was told to change

    @initialize()
    def meet(self) -> None:
        """Everybody knows everybody, watches everything, and is up to date."""
        for one, other in self.flying:
            self.peer_up((one, other))
        for node in _NODES:
            for shard in _SHARDS:
                self.watch(node, shard)
        self.deliver_all()

    # -- what nodes do --------------------------------------------------------------------------------------------

    @rule(node=_nodes, shard=_shards, key=_keys, value=_values)
    def put(self, node: str, shard: str, key: str, value: int) -> None:
        """A key is held, perhaps with another value than before."""
        change, outcome = self.nodes[node].put(shard, key, value)
        self._publish(node, change)
        self._tell(node, outcome)

    @rule(node=_nodes, shard=_shards, key=_keys)
    def drop(self, node: str, shard: str, key: str) -> None:
        """A key is let go of."""
        dropped = self.nodes[node].drop(shard, key, 0.0)
        assert (dropped is not None) or key not in self.nodes[node].own(shard)[1]
        if dropped is not None:
            self._publish(node, dropped[0])
            self._tell(node, dropped[1])

    @rule(node=_nodes, shard=_shards)
    def watch(self, node: str, shard: str) -> None:
        """A shard is followed; what it looks like first is not told."""
        directory = self.nodes[node]
        if directory.is_watched(shard):
            return
        directory.watch(shard)
        for key in _KEYS:
            self.told[node, shard, key] = directory.is_up(shard, key)
            self.read[node, shard, key] = directory.values(shard, key)
        self._ask(node)

    @rule(node=_nodes, shard=_shards)
    def unwatch(self, node: str, shard: str) -> None:
        """A shard is forgotten."""
        self.nodes[node].unwatch(shard)
        for key in _KEYS:
            self.told.pop((node, shard, key), None)
            self.read.pop((node, shard, key), None)

    @rule(pair=_pairs)
    def peer_up(self, pair: tuple[str, str]) -> None:
        """A node meets another, perhaps again."""
        self.nodes[pair[0]].peer_up(pair[1])
        self.met.add(pair)
        self._ask(pair[0])

    @rule(pair=_pairs)
    def peer_down(self, pair: tuple[str, str]) -> None:
        """A node takes another for dead, perhaps wrongly."""
        self.met.discard(pair)
        self._heed(pair[0], self.nodes[pair[0]].peer_down(pair[1], 1.0))

    @rule(node=_nodes)
    def beat(self, node: str) -> None:
        """A heartbeat names the numbers of all shards."""
        numbers = {shard: self.nodes[node].own(shard)[0] for shard in _SHARDS}
        self._publish(node, Heartbeat(node, "server", 1, 2, numbers))

    @rule(node=_nodes, passed=st.sampled_from([0.1, 1.0]))
    def tick(self, node: str, passed: float) -> None:
        """Time passes, and what is overdue is asked for again."""
        self.now += passed
        self.nodes[node].overdue(self.now)
        self._ask(node)

    # -- what becomes of messages ---------------------------------------------------------------------------------

    @precondition(_is_busy)
    @rule(data=st.data(), count=st.integers(1, 4))
    def deliver(self, data: st.DataObject, count: int) -> None:
        """Some messages arrive, in order."""
        pair, messages = self._busy(data)
        for _ in range(min(count, len(messages))):
            self._receive(pair[1], messages.popleft())

    @precondition(_may_lose)
    @rule(data=st.data(), index=st.integers(0, 5))
    def lose(self, data: st.DataObject, index: int) -> None:
        """A message does not arrive."""
        _, messages = self._busy(data)
        del messages[index % len(messages)]

    @precondition(_may_lose)
    @rule(data=st.data())
    def lose_all(self, data: st.DataObject) -> None:
        """What is on its way between two nodes does not arrive."""
        self._busy(data)[1].clear()

    @precondition(_is_busy)
    @rule(data=st.data(), index=st.integers(0, 5))
    def repeat(self, data: st.DataObject, index: int) -> None:
        """A message comes now, and later again."""
        pair, messages = self._busy(data)
        self._receive(pair[1], messages[index % len(messages) if self.disorder else 0])

    def _busy(self, data: st.DataObject) -> tuple[tuple[str, str], deque[_Message]]:
        pair = data.draw(st.sampled_from([pair for pair, messages in self.flying.items() if messages]))
        return pair, self.flying[pair]

    def _publish(self, sender: str, message: _Message) -> None:
        if isinstance(message, Change):
            self.history[sender, message.shard, message.number] = dict(self.nodes[sender].own(message.shard)[1])
        for receiver in _NODES:
            if receiver != sender:
                self.flying[sender, receiver].append(message)

    def _ask(self, node: str) -> None:
        for peer, shards in self.nodes[node].asks(self.now).items():
            self.flying[node, peer].append(Ask(node, tuple(shards)))

    def _receive(self, node: str, message: _Message) -> None:
        directory = self.nodes[node]
        match message:
            case Change():
                self._heed(node, directory.receive_change(message))
            case Snapshot():
                self._heed(node, directory.receive_snapshot(message))
            case Heartbeat():
                missed = directory.receive_numbers(message.node, message.numbers)
                assert self.lossy or not missed
                self._ask(node)
            case Ask():
                for shard in message.shards:
                    number, entries = directory.own(shard)
                    answer = Snapshot(node, shard, number, 0, 1, dict(entries))
                    self.flying[node, message.node].append(answer)

    def _heed(self, node: str, outcome: Outcome) -> None:
        assert self.lossy or not outcome.repair
        assert len(set(outcome.ready)) == len(outcome.ready)
        assert all(self.nodes[node].is_ready(shard) for shard in outcome.ready)
        self._tell(node, outcome)
        self._ask(node)

    def _tell(self, node: str, outcome: Outcome) -> None:
        for edge in outcome.edges:
            at = (node, edge.shard, edge.key)
            assert self.told[at] is not edge.up, f"{at} told twice that it is {'up' if edge.up else 'down'}"
            assert edge.value in (1, 2)
            self.told[at] = edge.up
        for shard, key in (*((edge.shard, edge.key) for edge in outcome.edges), *outcome.changed):
            self.read[node, shard, key] = self.nodes[node].values(shard, key)

    # -- what must hold -------------------------------------------------------------------------------------------

    @invariant()
    def edges_agree_with_the_view(self) -> None:
        """Whoever only follows the edges knows as much as whoever asks."""
        for (node, shard, key), up in self.told.items():
            assert self.nodes[node].is_up(shard, key) is up
            assert bool(self.nodes[node].holders(shard, key)) is up

    @invariant()
    def values_are_read_when_they_change(self) -> None:
        """Whoever reads only what was told to change knows every value."""
        for (node, shard, key), values in self.read.items():
            assert self.nodes[node].values(shard, key) == values

    @invariant()
    def own_entries_are_never_doubted(self) -> None:
        """What a node holds itself it knows; and nobody holds anything who is not there."""
        for node, shard, key in self.told:
            holders = self.nodes[node].holders(shard, key)
            assert (node in holders) is (key in self.nodes[node].own(shard)[1])
            assert holders - {node} <= {peer for watcher, peer in self.met if watcher == node}

    @invariant()
    def a_view_of_a_peer_is_one_that_was_true(self) -> None:
        """Never a mixture of two moments; and never older than it was, from one meeting to the next parting."""
        seen, self.seen = self.seen, {}
        for watcher, peer in self.met:
            for shard in _SHARDS:
                part = self.nodes[watcher]._part(peer, shard)
                if part is None or (part.number is None and not part.floor):
                    continue  # nothing heard since they met
                number = part.floor if part.number is None else part.number
                assert part.entries == self.history.get((peer, shard, number), {})
                assert number >= seen.get((watcher, peer, shard), 0)
                self.seen[watcher, peer, shard] = number

    def teardown(self) -> None:
        """From now on everything comes through: all views become the truth, and stay ready."""
        for pair in self.flying.keys() - self.met:
            self.peer_up(pair)
        for _ in range(4):  # heartbeats name a change four times
            for node in _NODES:
                self.tick(node, 1.0)
                self.beat(node)
            self.deliver_all()
            self.edges_agree_with_the_view()
        for node, shard, key in self.told:
            owns = {name: directory.own(shard)[1] for name, directory in self.nodes.items()}
            truth = {name: entries[key] for name, entries in owns.items() if key in entries}
            assert self.nodes[node].holders(shard, key) == truth.keys(), (node, shard, key)
            assert self.nodes[node].values(shard, key) == truth
            assert self.nodes[node].is_ready(shard)

    @rule()
    def deliver_all(self) -> None:
        """All messages arrive, and those that they lead to."""
        while any(self.flying.values()):
            for (_, receiver), messages in self.flying.items():
                while messages:
                    self._receive(receiver, messages.popleft())


class DisorderMachine(DirectoryMachine):
    """Messages of one publisher overtake each other too, which a bus must not let happen, and the numbers forgive."""

    disorder = True

    @precondition(_is_busy)
    @rule(data=st.data(), index=st.integers(0, 10))
    def deliver_any(self, data: st.DataObject, index: int) -> None:
        """Some message arrives before others that were sent first."""
        pair, messages = self._busy(data)
        index %= len(messages)
        message = messages[index]
        del messages[index]
        self._receive(pair[1], message)


class HealthyMachine(DirectoryMachine):
    """Nothing is lost, so nothing is ever asked for again."""

    lossy = False


TestHealthy = HealthyMachine.TestCase
TestHealthy.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
TestDirectory = DirectoryMachine.TestCase
TestDirectory.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
TestDisorder = DisorderMachine.TestCase
TestDisorder.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
