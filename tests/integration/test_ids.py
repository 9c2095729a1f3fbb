"""Ids may hold anything: what means something to NATS, to a URL or to JSON means nothing in an id, end to end."""

from functools import partial
from urllib.parse import quote

import trio

from tests.api_client import ApiClient
from tests.client import Client, Credentials, all_until, connect
from tests.integration.support import APP, OTHER_APP, all_of, api
from tests.processes import Node, Processes

IDS = (
    "a.b",
    "a",
    "*",
    ">",
    "a.*",
    "a.>",
    "x y",
    "ü/…",
    "=YS5i",  # what another id looks like in a subject
    "/../apps/2/users/a",
    "%2F%20+&?#",
    '"\\',
    "e\u0301",  # and the same to the eye, in one character:
    "\u00e9",
    "🦊",
    "u" * 200,
    "ü" * 199 + ".",
)


async def users_of(nursery: trio.Nursery, app: Credentials, node: Node) -> dict[str, Client]:
    """One client signed in for each id."""
    clients = {user: await connect(nursery, app, node.port) for user in IDS}
    await all_of(*(partial(client.sign_in, user) for user, client in clients.items()))
    return clients


async def watcher_of(nursery: trio.Nursery, app: Credentials, node: Node) -> Client:
    """A client that watches all ids."""
    watcher = await connect(nursery, app, node.port)
    return await watcher.sign_in("watcher", IDS)


async def publish_in_every_way(backend: ApiClient, user: str) -> None:
    """The user's id in a channel's name, in a batch, and in a path."""
    channel = f"#server-to-user-{user}"
    await backend.post("/events", {"name": "one", "data": user, "channels": [channel]})
    await backend.post("/batch_events", {"batch": [{"name": "two", "data": user, "channel": channel}]})
    await backend.post(f"/users/{quote(user, safe='')}/events", {"name": "three", "data": user})


async def test_any_id_works_end_to_end_and_never_for_another_app(processes: Processes) -> None:
    """Sign-in, events, watchlists, counts and termination, through another node than the user's."""
    nats = processes.start_nats()
    first, second = processes.start_nodes(2, nats, env={"USHER_PRESENCE__LINGER": "0"})
    async with trio.open_nursery() as nursery, api(second) as backend:
        strangers, clients = await users_of(nursery, OTHER_APP, first), await users_of(nursery, APP, first)
        watcher, stranger = await watcher_of(nursery, APP, second), await watcher_of(nursery, OTHER_APP, second)
        for user in IDS:
            await publish_in_every_way(backend, user)
            assert await backend.connections(user) == 1
        await all_until(clients.values(), lambda client: len(client.events) >= 3)
        for user, client in clients.items():
            assert [(told.event, told.channel) for told in client.events] == [
                (event, f"#server-to-user-{user}") for event in ("one", "two", "three")
            ]

        for user in reversed(IDS):
            await backend.terminate(user)
            assert await backend.connections(user) == 0
        await all_until(clients.values(), lambda client: client.ended)
        assert {client.ended[0].code for client in clients.values()} == {4200}
        await watcher.until(lambda: all(watcher.changes_of(user) == [True, False] for user in IDS))

        async with api(second, OTHER_APP) as other_backend:
            for user, client in strangers.items():
                assert await other_backend.connections(user) == 1
                assert (client.events, client.errors, client.ended) == ([], [], [])
                assert stranger.changes_of(user) == [True]
        nursery.cancel_scope.cancel()
