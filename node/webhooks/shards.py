"""The cluster as a keeper of webhooks sees it: facts, and the shards of three maps that tell them."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from cluster import Member, rank
from node.webhooks.events import Fact, Kind


class Shards:
    """See `node.webhooks.keeper.Cluster`."""

    def __init__(self, member: Member) -> None:
        self._member = member

    @property
    def node_id(self) -> str:
        """See `Cluster`."""
        return self._member.node_id

    @property
    def connected(self) -> bool:
        """See `Cluster`."""
        return self._member.connected

    def ages(self) -> Mapping[str, float]:
        """See `Cluster`."""
        return self._member.ages()

    def rank(self, app: str, index: int, nodes: Collection[str]) -> Sequence[str]:
        """See `Cluster`."""
        return rank(app, index, nodes)

    def stems(self, app: str) -> Mapping[Kind, Sequence[str]]:
        """See `Cluster`."""
        member = self._member
        return {
            Kind.CHANNEL: member.all_count_shards(app),
            Kind.MEMBER: member.all_member_shards(app),
            Kind.USER: member.all_user_shards(app),
        }

    def index_of(self, fact: Fact) -> int:
        """See `Cluster`."""
        return self._member.index_of(fact.user if fact.kind is Kind.USER else fact.channel)

    def watch(self, shards: Iterable[str]) -> None:
        """See `Cluster`."""
        self._member.watch(shards)

    def unwatch(self, shards: Iterable[str]) -> None:
        """See `Cluster`."""
        self._member.unwatch(shards)

    def is_ready(self, shard: str) -> bool:
        """See `Cluster`."""
        return self._member.is_ready(shard)
