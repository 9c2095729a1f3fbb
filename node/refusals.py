"""What a client is told that was refused, or that does too much. Pure: actions, in the order in which they are performed."""

from typing import Final

from node.actions import Action, Close, Overstepped, Refusal, Refused, Send
from node.bucket import Bucket
from node.limits import CLOSING, Limit, Measure
from node.protocol import frames
from node.protocol.errors import CloseCode, LimitError, ProtocolError, excerpt

UNSEEN: Final = ProtocolError(
    CloseCode.UNAUTHORIZED, "Too much was refused on this connection: wait a minute, then try again"
)
"""The answer to a signature that nobody looked at."""

_SLOW_DOWN = Send(frames.encode_error(None, "This connection sends too much: send less, or it will be closed"))
_TOO_MUCH = Close(CloseCode.OVER_CAPACITY, "This connection sends too much: come back later, and send less")
_TOO_OFTEN = Close(CloseCode.OVER_CAPACITY, "Too much was refused on this connection: come back later")


def refuse(error: ProtocolError, what: Refusal) -> tuple[Action, ...]:
    """Tell why, and count it."""
    return (Send(frames.encode_error(error.code, error.message)), Refused(what))


def refuse_subscription(channel: str, error: ProtocolError) -> tuple[Action, ...]:
    """Tell that a channel cannot be subscribed to: the channel's handlers first, then the connection's (protocol.md 6.4)."""
    kind, status = ("LimitReached", CloseCode.OVER_CAPACITY) if isinstance(error, LimitError) else ("AuthError", 401)
    frame = frames.encode_subscription_error(excerpt(channel), kind, error.message, status)
    return (Send(frame), *refuse(error, Refusal.SUBSCRIPTION))


def restrain_traffic(bucket: Bucket, before: float, after: float, now: float) -> tuple[Action, ...]:
    """What is done when a connection's traffic goes from `before` to `after`: told when it oversteps, then closed."""
    if bucket.owes(after, now, CLOSING):
        return (Overstepped(Limit.TRAFFIC, Measure.CLOSED), _TOO_MUCH)
    if bucket.owes(after, now) and not bucket.owes(before, now):
        return (Overstepped(Limit.TRAFFIC, Measure.TOLD), _SLOW_DOWN)
    return ()


def restrain_failures(bucket: Bucket, after: float, now: float) -> tuple[Action, ...]:
    """What is done when so many failures are owed: closed, or nothing yet."""
    return (Overstepped(Limit.FAILURES, Measure.CLOSED), _TOO_OFTEN) if bucket.owes(after, now, CLOSING) else ()
