"""Three nodes on one NATS when something dies: a node at once, a node for a while, NATS itself.

A watcher is told what really changed, once; nobody is told anything else. What was true is true again afterwards,
by every watcher's view and by every node's answer. A *sentinel* who signs in after the events of a test shows that a
watcher has heard everything before: what a node tells, it tells in order.
"""

import signal
from collections.abc import Sequence
from functools import partial

import pytest
import trio

from tests.api_client import ApiClient
from tests.client import Client, all_until, connect
from tests.integration.support import (
    APP,
    all_of,
    api,
    count_becomes,
    counted,
    eventually,
    has_peers,
    names,
    ready,
    signed_in,
    start_three,
    total,
)
from tests.processes import Node, Processes

OFFLINE_WITHIN = 3.0
SENTINEL = "sentinel"


async def hear_out(nursery: trio.Nursery, node: Node, watchers: Sequence[Client]) -> None:
    """Return when the watchers have heard everything that happened before."""
    await signed_in(nursery, node, [SENTINEL])
    await all_until(watchers, lambda watcher: watcher.view[SENTINEL])


async def test_watchers_hear_offline_once_and_in_time_when_a_node_is_killed(processes: Processes) -> None:
    """Only those who were on the dead node alone, and did not come back meanwhile, go offline."""
    _, (doomed, second, third) = start_three(processes)
    lonely, doubled, returning = names("lonely", 20), names("doubled", 20), names("returning", 20)
    async with trio.open_nursery() as nursery:
        for user in returning:
            client = await connect(nursery, APP, doomed.port, second.port, comes_back=True)
            await client.sign_in(user)
        await signed_in(nursery, doomed, [*lonely, *doubled])
        await signed_in(nursery, second, doubled)
        everybody = [*lonely, *doubled, *returning, SENTINEL]
        watchers = [
            *await signed_in(nursery, second, names("watcher", 3), everybody),
            *await signed_in(nursery, third, names("watcher", 3), everybody),
        ]

        killed_at = trio.current_time()
        doomed.kill()
        await all_until(watchers, lambda watcher: not any(watcher.view[user] for user in lonely))
        await hear_out(nursery, third, watchers)

        for watcher in watchers:
            times = [change.at - killed_at for change in watcher.changes if not change.online and change.at > killed_at]
            assert max(times) < OFFLINE_WITHIN, times
            told = {user: watcher.changes_of(user) for user in everybody}
            silent = {user: [True] for user in (*doubled, *returning)}
            assert told == {user: [True, False] for user in lonely} | silent | {SENTINEL: [False, True]}
        for node in (second, third):
            assert await counted(node, *lonely[:3]) == dict.fromkeys(lonely[:3], 0)
            assert await counted(node, *doubled[:3], *returning[:3]) == dict.fromkeys([*doubled[:3], *returning[:3]], 1)
            await eventually(partial(has_peers, node, 1), "the gauge of peers follows")
            assert total(node, "usher_presence_repairs_total") == 0
            assert total(node, "usher_offline_seconds_count") == 20
        nursery.cancel_scope.cancel()


async def test_users_of_a_killed_node_come_online_again_when_they_return_late(processes: Processes) -> None:
    """Offline, then online: two true changes, and nothing else."""
    _, (doomed, second, third) = start_three(processes)
    async with trio.open_nursery() as nursery:
        await signed_in(nursery, doomed, ["late"])
        (watcher,) = await signed_in(nursery, third, ["watcher"], ["late"])
        doomed.kill()
        await watcher.until(lambda: watcher.changes_of("late") == [True, False])
        doomed.start()
        await signed_in(nursery, second, ["late"])
        await watcher.until(lambda: watcher.changes_of("late") == [True, False, True])
        await ready(doomed)
        await signed_in(nursery, doomed, ["late"])
        await count_becomes(third, {"late": 2})
        assert watcher.changes_of("late") == [True, False, True]
        nursery.cancel_scope.cancel()


@pytest.mark.slow
async def test_a_paused_node_is_offline_after_its_lease_and_back_when_it_goes_on(processes: Processes) -> None:
    """A short pause makes no noise; a long one takes its users offline once, and brings them back once."""
    _, (paused, _, third) = start_three(processes, USHER_CLUSTER__LEASE="4")
    async with trio.open_nursery() as nursery:
        await signed_in(nursery, paused, ["frozen", "doubled"])
        await signed_in(nursery, third, ["doubled"])
        (watcher,) = await signed_in(nursery, third, ["watcher"], ["frozen", "doubled"])

        paused.send_signal(signal.SIGSTOP)
        probes = _sent(third, "ping")
        await eventually(lambda: _sent(third, "ping") > probes + 1, "the paused node is probed")
        paused.send_signal(signal.SIGCONT)
        assert await counted(third, "frozen", "doubled") == {"frozen": 1, "doubled": 2}
        assert watcher.changes_of("frozen") == [True]

        paused.send_signal(signal.SIGSTOP)
        await watcher.until(lambda: watcher.changes_of("frozen") == [True, False])
        paused.send_signal(signal.SIGCONT)
        await watcher.until(lambda: watcher.changes_of("frozen") == [True, False, True])
        assert await counted(third, "frozen", "doubled") == {"frozen": 1, "doubled": 2}
        assert watcher.changes_of("doubled") == [True]
        nursery.cancel_scope.cancel()


def _sent(node: Node, kind: str) -> float:
    return node.metrics().get(f'usher_bus_messages_total{{direction="out",kind="{kind}"}}', 0.0)


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
async def test_sockets_stay_and_only_changes_are_told_when_nats_restarts(
    processes: Processes, ending: signal.Signals
) -> None:
    """Meanwhile the API answers 503, and a sign-in waits."""
    nats, nodes = start_three(processes)
    _, second, third = nodes
    staying = names("staying", 10)
    async with trio.open_nursery() as nursery:
        stayers = [*await signed_in(nursery, second, staying[:5]), *await signed_in(nursery, third, staying[5:])]
        (leaver,) = await signed_in(nursery, second, ["leaver"])
        await signed_in(nursery, second, ["doubled"])
        everybody = [*staying, "leaver", "doubled", "newcomer", SENTINEL]
        watchers = [c for n in nodes for c in await signed_in(nursery, n, [f"watcher of {n.name}"], everybody)]
        newcomers = [await connect(nursery, APP, third.port) for _ in range(2)]

        nats.send_signal(ending)
        await trio.to_thread.run_sync(nats.wait_stopped)
        await eventually(lambda: not any(total(node, "usher_bus_connected") for node in nodes), "all nodes noticed")
        await all_of(*(partial(_refuses_everything, node, "staying0") for node in nodes))
        await newcomers[0].send_sign_in("newcomer")
        await newcomers[1].send_sign_in("doubled")
        await leaver.close()
        await _answers_pings([*stayers, *watchers, *newcomers])
        assert not any(client.signed_in for client in newcomers)

        nats.start()
        await ready(nats, *nodes)
        await all_until(newcomers, lambda newcomer: newcomer.signed_in)
        await all_until(watchers, lambda watcher: watcher.view["newcomer"] and not watcher.view["leaver"])
        await hear_out(nursery, third, watchers)

        for client in [*stayers, *watchers, *newcomers]:
            assert client.ended == []
        for stayer in stayers:
            assert stayer.events == []
        for watcher in watchers:
            told = {user: watcher.changes_of(user) for user in everybody}
            expected = {"leaver": [True, False], "newcomer": [False, True], SENTINEL: [False, True]}
            assert told == expected | {user: [True] for user in (*staying, "doubled")}
        for node in nodes:
            assert total(node, "usher_bus_reconnects_total") == 1
            assert await counted(node, "leaver", "doubled", "newcomer", "staying0", "staying9") == {
                "leaver": 0,
                "doubled": 2,
                "newcomer": 1,
                "staying0": 1,
                "staying9": 1,
            }
        await _reach_everybody(nodes, dict(zip(staying, stayers, strict=True)))
        nursery.cancel_scope.cancel()


async def _refuses_everything(node: Node, user: str) -> None:
    """The API says 503 and when to come again, instead of promising what it cannot keep."""
    event: dict[str, object] = {"name": "lost", "data": "lost", "channels": ["room", f"#server-to-user-{user}"]}
    requests: list[tuple[str, str, dict[str, object] | None]] = [
        ("POST", "/events", event),
        ("POST", "/events", {**event, "info": "subscription_count"}),
        ("POST", "/users/somebody-else/terminate_connections", {}),
        *(
            ("GET", path, None)
            for path in ("/channels", "/channels/room", "/channels/presence-room/users", f"/users/{user}")
        ),
    ]
    async with api(node) as backend, trio.open_nursery() as nursery:
        for request in requests:
            nursery.start_soon(_is_refused, backend, *request)


async def _is_refused(backend: ApiClient, method: str, path: str, body: dict[str, object] | None) -> None:
    response = await backend.ask(method, path, body)
    assert response.status == 503, (method, path, response)
    assert int(response.headers["retry-after"]) >= 1
    assert response.error


async def _answers_pings(clients: Sequence[Client]) -> None:
    """Every connection is alive, and the node has handled all that it sent before."""
    before = {client: _pongs(client) for client in clients}
    for client in clients:
        await client.send("pusher:ping", {})
    await all_until(clients, lambda client: _pongs(client) > before[client])


def _pongs(client: Client) -> int:
    return sum(told.event == "pusher:pong" for told in client.told)


async def _reach_everybody(nodes: Sequence[Node], clients: dict[str, Client]) -> None:
    """An event through each node reaches each user, once."""
    for node in nodes:
        async with api(node) as backend:
            for user in clients:
                assert (await backend.send_to_user(user, node.name, "here")).status == 200
    await all_until(clients.values(), lambda client: len(client.events) >= len(nodes))
    for client in clients.values():
        assert [told.event for told in client.events] == [node.name for node in nodes]


async def test_nobody_is_told_anything_when_nodes_move_to_another_nats_server(processes: Processes) -> None:
    """Sockets stay, users stay online, and everybody can be reached again."""
    servers = processes.start_nats_cluster(2)
    nodes = [*processes.start_nodes(2, servers[0], wait=False), *processes.start_nodes(1, servers[1], wait=False)]
    await ready(*nodes)
    staying = names("staying", 9)
    async with trio.open_nursery() as nursery:
        stayers = [c for i, n in enumerate(nodes) for c in await signed_in(nursery, n, staying[3 * i : 3 * i + 3])]
        watchers = [c for n in nodes for c in await signed_in(nursery, n, [f"watcher of {n.name}"], [*staying, SENTINEL])]
        servers[0].kill()
        await eventually(
            lambda: [total(node, "usher_bus_reconnects_total") for node in nodes] == [1, 1, 0], "two nodes have moved"
        )
        await hear_out(nursery, nodes[0], watchers)
        for node in nodes:
            assert await counted(node, *staying) == dict.fromkeys(staying, 1)
        await _reach_everybody(nodes, dict(zip(staying, stayers, strict=True)))
        for watcher in watchers:
            assert [watcher.changes_of(user) for user in staying] == [[True]] * 9
        assert [client.ended for client in (*stayers, *watchers)] == [[]] * 12
        nursery.cancel_scope.cancel()


async def test_a_sign_in_fails_so_that_the_client_retries_when_nats_is_away_for_long(processes: Processes) -> None:
    """Closed with 4100, pusher-js comes back after a second and signs in again, as often as it takes."""
    nats, nodes = start_three(processes, USHER_CLUSTER__CONFIRM_TIMEOUT="0.5")
    async with trio.open_nursery() as nursery:
        (watcher,) = await signed_in(nursery, nodes[0], ["watcher"], ["patient"])
        nats.kill()
        await eventually(lambda: not any(total(node, "usher_bus_connected") for node in nodes), "all nodes noticed")
        patient = await connect(nursery, APP, nodes[1].port, nodes[2].port, comes_back=True)
        await patient.send_sign_in("patient")
        await patient.until(lambda: len(patient.ended) == 2)
        assert [ended.code for ended in patient.ended] == [4100, 4100]
        assert [told.data["code"] for told in patient.errors] == [4100, 4100]
        assert sum(total(node, "usher_signins_total") for node in nodes) == 3
        nats.start()
        await ready(nats)
        await patient.until(lambda: patient.signed_in)
        await watcher.until(lambda: watcher.view["patient"])
        assert watcher.changes_of("patient") == [False, True]
        assert await counted(nodes[0], "patient") == {"patient": 1}
        nursery.cancel_scope.cancel()
