"""Connections as their transports see them (`node.transport.seam.Receiver`): what comes goes on to the hub."""

from typing import Protocol

from node.actions import Action
from node.connection import Connection, Phase
from node.protocol import frames
from node.protocol.messages import PING_TEXT
from node.tallies import Tally

_CLOSED = Phase.CLOSED  # Python looks an enum's member up anew each time, which is slow in a class


class Owner(Protocol):
    """Who acts on what connections say."""

    pings: Tally

    def receive(self, connection: Connection, text: str) -> None:
        """One text message of a connection."""

    def restrain(self, connection: Connection, actions: tuple[Action, ...]) -> bool:
        """A connection says too much; whether it is heard further."""

    def forget(self, connection: Connection, code: str) -> None:
        """The connection has ended."""


class Session:
    """A connection as its transport sees it."""

    __slots__ = ("_connection", "_hub")

    def __init__(self, hub: Owner, connection: Connection) -> None:
        self._hub = hub
        self._connection = connection

    def receive(self, text: str) -> None:
        """A ping is answered before anything is decoded: all that an idle client ever says, and 2 of its 12 µs."""
        connection = self._connection
        if text == PING_TEXT and connection.phase is not _CLOSED:
            self._hub.pings.inc()
            connection.transport.offer(frames.PONG_EVENT)
        else:
            self._hub.receive(connection, text)

    def touch(self, now: float, frames: int, size: int) -> bool:
        """See `Receiver`."""
        actions = self._connection.touch(now, frames, size)
        return not actions or self._hub.restrain(self._connection, actions)

    def closed(self) -> None:
        """See `Receiver`."""
        self._hub.forget(self._connection, "peer")


class RefusedSession:
    """What a refused connection still says is not heard."""

    def receive(self, text: str) -> None:
        """See `Receiver`."""

    def touch(self, now: float, frames: int, size: int) -> bool:  # noqa: ARG002 - as above
        """See `Receiver`."""
        return True

    def closed(self) -> None:
        """See `Receiver`."""
