"""Traffic whose size is known, and what Prometheus must make of it. The app must take client events."""

from functools import partial

import pytest
import trio

from tests.api_client import ApiClient
from tests.client import Client, Credentials, Refused, all_until, connect
from tests.integration.support import APP, all_of, names

USERS, SEEN_BY, EVENTS, REFUSED, TERMINATED = 30, 3, 25, 4, 2
"""Users in all, watchers of all of them, events for each of the first ten users, wrong signatures, users terminated."""
SUBSCRIBERS, NEWS, SAID = 12, 5, 3
"""Users in a private channel, events that the backend publishes there, and events of one of them."""
ROOM = "private-room"


async def drive(nursery: trio.Nursery, port: int, backend: ApiClient) -> list[Client]:
    """So many users sign in, some watch all others, and all kinds of things happen to them; all who stay."""
    users = names("user", USERS)
    clients = [await connect(nursery, APP, port) for _ in users]
    watchlists = [users if number < SEEN_BY else () for number in range(USERS)]
    await all_of(*map(partial, (client.sign_in for client in clients), users, watchlists))
    for _ in range(REFUSED):
        await _forge(nursery, port)
    await all_of(*(partial(_join, client) for client in clients[:SUBSCRIBERS]))
    await _publish(backend, users, clients)
    for user in users[-TERMINATED:]:
        await backend.terminate(user)
    assert (await backend.ask("GET", "/nowhere")).status == 404
    await all_until(clients[-TERMINATED:], lambda client: client.ended)
    return clients[:-TERMINATED]


async def _forge(nursery: trio.Nursery, port: int) -> None:
    """Somebody signs in with a signature of their own, and leaves."""
    forged = await connect(nursery, Credentials(APP.app_id, APP.key, "wrong"), port)
    with pytest.raises(Refused):
        await forged.sign_in("mallory")
    await forged.close()


async def _join(client: Client) -> None:
    """Subscribe to the channel."""
    auth = f"{APP.key}:{APP.sign(f'{client.socket_id}:{ROOM}')}"
    await client.send("pusher:subscribe", {"channel": ROOM, "auth": auth})
    await client.until(lambda: _heard(client, "pusher_internal:subscription_succeeded"))


async def _publish(backend: ApiClient, users: list[str], clients: list[Client]) -> None:
    """Events for users, for the channel, and from one of its subscribers to the others; all of them arrive."""
    for user in users[:10]:
        for number in range(EVENTS):
            assert (await backend.send_to_user(user, "hello", str(number))).status == 200
    for number in range(NEWS):
        await backend.post("/events", {"name": "news", "data": str(number), "channels": [ROOM]})
    for number in range(SAID):
        await clients[0].send("client-said", number, ROOM)
    await all_until(clients[:10], lambda client: len(client.events) == EVENTS)
    others = clients[1:SUBSCRIBERS]
    await all_until(others, lambda client: _heard(client, "news") == NEWS and _heard(client, "client-said") == SAID)


def _heard(client: Client, event: str) -> int:
    return sum(told.event == event for told in client.told)


def counts() -> dict[str, float]:
    """What is asked, and what the traffic makes of it."""
    stay = USERS - TERMINATED
    return {
        "sum(usher_connections)": stay,
        "sum(usher_signed_in_connections)": stay,
        "sum(usher_users_online_here)": stay,
        'sum(usher_signins_total{result="success"})': USERS,
        'sum(usher_signins_total{result="refused"})': REFUSED,
        "sum(usher_watch_edges)": USERS * SEEN_BY,
        "sum(usher_terminations_total)": TERMINATED,
        'sum(usher_closes_total{code="4200"})': TERMINATED,
        'sum(usher_closes_total{code="peer"})': REFUSED,
        "sum(usher_subscriptions)": SUBSCRIBERS,
        'sum(usher_subscribes_total{result="success"})': SUBSCRIBERS,
        'sum(usher_client_events_total{result="accepted"})': SAID,
        "sum(usher_channel_deliveries_total)": SUBSCRIBERS * NEWS + (SUBSCRIBERS - 1) * SAID,
        'sum(usher_messages_received_total{kind="signin"})': USERS + REFUSED,
        'sum(usher_messages_received_total{kind="subscribe"})': SUBSCRIBERS,
        'sum(usher_api_requests_total{route="/apps/{app}/events", status="200"})': 10 * EVENTS + NEWS,
        'sum(usher_api_request_seconds_count{route="/apps/{app}/events"})': 10 * EVENTS + NEWS,
        'sum(usher_api_requests_total{status="404"})': 1,
        "job:usher_connections:sum": stay,
    }
