"""The node as the cluster sees it: whatever the bus brings goes on to those here whom it concerns."""

from collections import Counter
from collections.abc import Mapping, Sequence

import trio

from cluster import ChannelEvent, CountChange, MemberEdge, PeerLost, UserEdge
from node.channels import Channels
from node.users import Users
from node.watchers import Watchers
from node.webhooks.seam import NoWebhooks, Webhooks


class Listener:
    """See `cluster.Listener`. The hub counts connections in it, for heartbeats."""

    def __init__(self, users: Users, watchers: Watchers, channels: Channels) -> None:
        self._users = users
        self._watchers = watchers
        self._channels = channels
        self.webhooks: Webhooks = NoWebhooks()
        self.takes_clients = False
        """Whether clients may be sent here: the port is open, and nobody said to leave."""
        self.connections = 0
        """All connections here."""
        self.counted: Counter[str] = Counter()
        """Those that count against the quota, by app id: without those that have to authorize themselves yet."""

    def load(self) -> tuple[int, int, Mapping[str, int], bool]:
        """See `cluster.Listener`."""
        return self.connections, self._users.online, self.counted, self.takes_clients

    def receive_event(self, app: str, user: str, frame: bytes, except_socket_id: str | None) -> bool:
        """See `cluster.Listener`."""
        return self._users.receive_event(app, user, frame, except_socket_id)

    def receive_channel_event(self, event: ChannelEvent) -> bool:
        """See `cluster.Listener`."""
        return self._channels.receive_event(event)

    def terminate(self, app: str, user: str) -> int:
        """See `cluster.Listener`."""
        return self._users.terminate(app, user)

    def count(self, app: str, user: str) -> int:
        """See `cluster.Listener`."""
        return self._users.count(app, user)

    def user_edges(self, edges: Sequence[UserEdge]) -> None:
        """See `cluster.Listener`."""
        self._watchers.note(edges, trio.current_time())
        self.webhooks.user_edges(edges)

    def member_edges(self, edges: Sequence[MemberEdge]) -> None:
        """See `cluster.Listener`."""
        self._channels.member_edges(edges)
        self.webhooks.member_edges(edges)

    def count_edges(self, changes: Sequence[CountChange]) -> None:
        """See `cluster.Listener`."""
        self._channels.count_edges(changes)
        self.webhooks.count_edges(changes)

    def channel_missed(self, app: str, channel: str) -> None:
        """See `cluster.Listener`."""
        self.webhooks.channel_missed(app, channel)

    def peers_changed(self, lost: PeerLost | None = None) -> None:
        """See `cluster.Listener`."""
        self.webhooks.peers_changed(lost)
