"""What a node may ask of a `Member` to share work out: who lives and for how long, and which shards there are.

Whoever ranks the nodes (`rank`) for each shard finds the same first one on every node, and needs to ask nobody.
"""

from collections.abc import Iterable, Mapping

from cluster.core import Core
from cluster.envelope import Missed
from cluster.holders import Holders
from cluster.maps import Maps
from cluster.membership import Load
from cluster.peers import Peers


class KeeperCalls:
    """The calls of `Member` that are about shared work."""

    _core: Core
    _maps: Maps
    _peers: Peers
    _holders: Holders

    def ages(self) -> Mapping[str, float]:
        """How many seconds every live node has lived, this one included, as its last heartbeat says: the same everywhere."""
        return self._peers.ages()

    def loads(self) -> Mapping[str, Load]:
        """What every other live node carries, as it said within the last second or so."""
        return self._peers.loads()

    def tell_missed(self, nodes: Iterable[str], app: str, channel: str) -> None:
        """Let other nodes know, as well as it goes, that nothing is kept of the channel (`Listener.channel_missed`)."""
        for node in nodes:
            self._core.try_send(self._core.subjects.node(node), Missed(app, channel))

    def index_of(self, by: str) -> int:
        """The number of the shard that a user or a channel belongs to, in every map."""
        return self._core.subjects.index(by)

    def all_user_shards(self, app: str) -> list[str]:
        """The shards to watch for all users of an app."""
        return self._holders.shards(app)

    def is_ready(self, shard: str) -> bool:
        """Whether a watched shard is complete: what is told of it from now on happens now."""
        return self._maps.is_ready(shard)
