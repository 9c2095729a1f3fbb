"""Sheds what a node carries beyond its share, as `node.balance` decides.

Rules for whoever edits this file: no connection is looked at unless it is to be closed, and a look has a bound: that of
`rebalance.shed_rate`.
"""

import structlog
import trio

from cluster import Load, Member
from node.balance import Balance, Reason
from node.config.settings import Rebalance
from node.hub import Hub

log = structlog.get_logger(__name__)

_INTERVAL = 0.25  # seconds between two looks


async def shed_skew(hub: Hub, member: Member, settings: Rebalance) -> None:
    """Keep this node's connections near the mean of all nodes, until cancelled."""
    balance = Balance(settings, trio.current_time())
    while settings.skew:
        await trio.sleep(_INTERVAL)
        was_shedding = balance.is_shedding
        here, peers = _load_here(hub, member), member.loads()
        for connection in hub.oldest(balance.poll(here, peers.values(), trio.current_time())):
            hub.shed(connection, Reason.SKEW)
        if balance.is_shedding is not was_shedding:
            there = [peer.connections for peer in peers.values()]
            log.info("shedding", begins=balance.is_shedding, here=here.connections, there=there)


def _load_here(hub: Hub, member: Member) -> Load:
    """Without the bus nobody can be sent anywhere, as nobody elsewhere could be told of."""
    takes_clients = hub.listener.takes_clients and member.connected
    return Load(hub.listener.connections, member.ages()[member.node_id], takes_clients)
