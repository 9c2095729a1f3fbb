"""The indexes of watched shards against models that are read whole each time."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cluster.indexes import Roster, Sums, member_key, split_member_key

_SHARDS = ("s", "t")
_CHANNELS = ("c", "d")
_shards = st.sampled_from(_SHARDS)
_channels = st.sampled_from(_CHANNELS)
_users = st.sampled_from(["", "a", "a:b", ":"])


class IndexesMachine(RuleBasedStateMachine):
    """Entries are written before and while a shard is followed."""

    def __init__(self) -> None:
        super().__init__()
        self.roster, self.sums = Roster(), Sums()
        self.infos: dict[str, dict[str, str]] = {shard: {} for shard in _SHARDS}
        self.counts: dict[str, dict[str, int]] = {shard: {} for shard in _SHARDS}
        self.followed: set[str] = set()

    @rule(shard=_shards)
    def follow(self, shard: str) -> None:
        """A shard is followed from now on, or no more."""
        if shard in self.followed:
            self.followed.remove(shard)
            self.roster.end(shard)
            self.sums.end(shard)
        else:
            self.followed.add(shard)
            self.roster.begin(shard, self.infos[shard])
            self.sums.begin(shard, self.counts[shard])

    @rule(shard=_shards, channel=_channels, user=_users, info=st.text(max_size=2))
    def join(self, shard: str, channel: str, user: str, info: str) -> None:
        """A member comes, or has another info."""
        key = member_key(channel, user)
        assert split_member_key(key) == (channel, user)
        self.infos[shard][key] = info
        if shard in self.followed:
            self.roster.put(shard, key, info)

    @precondition(lambda self: any(self.infos.values()))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        """A member goes."""
        shard = data.draw(st.sampled_from([shard for shard, infos in self.infos.items() if infos]))
        key = data.draw(st.sampled_from(sorted(self.infos[shard])))
        del self.infos[shard][key]
        if shard in self.followed:
            self.roster.drop(shard, key)

    @rule(shard=_shards, channel=_channels, count=st.integers(0, 3))
    def count(self, shard: str, channel: str, count: int) -> None:
        """A channel has another sum."""
        before = self.counts[shard].pop(channel, 0)
        if count:
            self.counts[shard][channel] = count
        if shard in self.followed:
            assert self.sums.replace(shard, channel, count) == before

    @invariant()
    def indexes_agree_with_the_models(self) -> None:
        """Of every channel of every shard; and nothing is left of channels that nobody is in."""
        for shard in self.followed:
            for channel in _CHANNELS:
                infos = {key.partition(":")[2]: info for key, info in self.infos[shard].items() if key[0] == channel}
                assert self.roster.of(shard, channel) == infos
                assert self.sums.of(shard, channel) == self.counts[shard].get(channel, 0)
            assert dict(self.sums.items(shard)) == self.counts[shard]
            assert all(self.roster._shards[shard].values())
        assert self.roster._shards.keys() == self.sums._shards.keys() == self.followed


TestIndexes = IndexesMachine.TestCase
