"""What nodes say to each other: bus, subjects, envelopes, interests, membership, presence directory, fence.

It knows nothing of Pusher and never imports `node`; `node` imports only what is handed out here. cluster/README.md tells
the protocol and why it is right.
"""

from cluster.bus import Bus, BusAwayError
from cluster.core import ClusterSettings, NoStats, Stats
from cluster.edges import CountChange, MemberEdge, PeerLost, UserEdge
from cluster.envelope import ChannelEvent, UserEvent
from cluster.interest import Interests
from cluster.keepers import rank
from cluster.local_bus import Broker, LocalBus
from cluster.member import Listener, Member, ShardMismatchError
from cluster.membership import Load, MembershipSettings
from cluster.nats_bus import NatsBus, NatsSettings

__all__ = [
    "Broker",
    "Bus",
    "BusAwayError",
    "ChannelEvent",
    "ClusterSettings",
    "CountChange",
    "Interests",
    "Listener",
    "Load",
    "LocalBus",
    "Member",
    "MemberEdge",
    "MembershipSettings",
    "NatsBus",
    "NatsSettings",
    "NoStats",
    "PeerLost",
    "ShardMismatchError",
    "Stats",
    "UserEdge",
    "UserEvent",
    "rank",
]
