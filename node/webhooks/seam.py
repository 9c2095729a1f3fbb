"""The seam between the node and its webhooks: what there is to tell. Nothing here waits or raises."""

from collections.abc import Sequence
from typing import Protocol

from cluster import CountChange, MemberEdge, PeerLost, UserEdge
from node.config.apps import App


class Webhooks(Protocol):
    """Who tells the apps' servers what happened."""

    def client_event(  # noqa: PLR0913, PLR0917 - the fields of the webhook
        self, app: App, channel: str, event: str, data: str, socket_id: str, user_id: str | None
    ) -> None:
        """A client event was accepted on this node; once for each. `user_id` on presence channels only."""

    def cache_miss(self, app: App, channel: str) -> None:
        """A subscriber here found a cache channel empty; once for each subscriber."""

    def user_edges(self, edges: Sequence[UserEdge]) -> None:
        """Users of watched shards came online or went offline in the cluster."""

    def member_edges(self, edges: Sequence[MemberEdge]) -> None:
        """Users came to presence channels of watched shards, or left them, in the cluster."""

    def count_edges(self, changes: Sequence[CountChange]) -> None:
        """Numbers of subscriptions of channels in watched shards changed, in the cluster."""

    def channel_missed(self, app: str, channel: str) -> None:
        """A subscriber on another node found a cache channel empty, and this node keeps the channel."""

    def peers_changed(self, lost: PeerLost | None = None) -> None:
        """Other nodes came or went: who tells what may be another now."""


class NoWebhooks:
    """Tells nobody anything."""

    def client_event(  # noqa: PLR0913, PLR0917 - see `Webhooks`
        self, app: App, channel: str, event: str, data: str, socket_id: str, user_id: str | None
    ) -> None:
        """See `Webhooks`."""

    def cache_miss(self, app: App, channel: str) -> None:
        """See `Webhooks`."""

    def user_edges(self, edges: Sequence[UserEdge]) -> None:
        """See `Webhooks`."""

    def member_edges(self, edges: Sequence[MemberEdge]) -> None:
        """See `Webhooks`."""

    def count_edges(self, changes: Sequence[CountChange]) -> None:
        """See `Webhooks`."""

    def channel_missed(self, app: str, channel: str) -> None:
        """See `Webhooks`."""

    def peers_changed(self, lost: PeerLost | None = None) -> None:
        """See `Webhooks`."""
