"""What a node is told of the whole cluster: users, members, channels and nodes that came and went. Pure.

`age`: seconds since the cause, as far as known. For each thing, what is told alternates.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UserEdge:
    """A user of an app came online or went offline."""

    app: str
    user: str
    online: bool
    age: float


@dataclass(frozen=True, slots=True)
class MemberEdge:
    """A user became a member of a channel, or ceased to be one. `info`: as it joined; as it last was, when it leaves."""

    app: str
    channel: str
    user: str
    info: str
    joined: bool
    age: float


@dataclass(frozen=True, slots=True)
class CountChange:
    """A channel has another number of subscriptions. `before` is 0: it is occupied now; `after` is 0: it is vacated."""

    app: str
    channel: str
    before: int
    after: int
    age: float


@dataclass(frozen=True, slots=True)
class PeerLost:
    """Another node is gone, `silent` seconds after it was last heard. `politely`: it said so itself."""

    node: str
    silent: float
    politely: bool
