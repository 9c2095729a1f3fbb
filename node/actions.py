"""What a connection decides: values, which the hub performs in their order. Pure."""

from dataclasses import dataclass
from enum import Enum

from node.limits import Limit, Measure
from node.protocol.user_data import UserData
from node.subscriptions import Subscription


class Refusal(Enum):
    """What was refused, for the count; the client is told by a `Send`."""

    SIGN_IN = "sign-in"
    SUBSCRIPTION = "subscription"
    CLIENT_EVENT = "client event"
    CLIENT_EVENT_RATE = "client event over the rate"


@dataclass(frozen=True, slots=True)
class Send:
    """Offer this frame to the client."""

    frame: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """Tell the error, then close with its code."""

    code: int
    message: str


@dataclass(frozen=True, slots=True)
class SendAway:
    """The connection is too old: close it so that it comes back elsewhere at once, if this is a time for that."""


@dataclass(frozen=True, slots=True)
class Authorized:
    """The client did what `require_authorization` asks for: from now on the connection counts against the quota.

    Performed first: if it is over the quota, the connection is closed, and what follows is not performed.
    """


@dataclass(frozen=True, slots=True)
class Claim:
    """The client proved to be this user: confirm it in the cluster, then call `Connection.signed_in`.

    `number` counts the claims of a connection; only the newest one counts. `cut`: the watchlist was over the limit.
    """

    user: UserData
    number: int
    cut: bool


@dataclass(frozen=True, slots=True)
class Join:
    """The client may subscribe: confirm it in the cluster, then tell the success, if `Connection.holds` it still."""

    subscription: Subscription


@dataclass(frozen=True, slots=True)
class Leave:
    """The client unsubscribed; perhaps the subscription was not confirmed yet."""

    subscription: Subscription


@dataclass(frozen=True, slots=True)
class Broadcast:
    """A client event for all other subscribers of the channel. `data` is the text to pass on."""

    subscription: Subscription
    event: str
    data: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Something was refused, for the count; the client is told by a `Send`."""

    what: Refusal


@dataclass(frozen=True, slots=True)
class Overstepped:
    """The client does too much, for the count; it is told by a `Send` or a `Close`."""

    limit: Limit
    measure: Measure


Action = Send | Close | SendAway | Authorized | Claim | Join | Leave | Broadcast | Refused | Overstepped
