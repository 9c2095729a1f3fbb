"""Webhooks of real nodes: a node that dies or stops, a backend that is away, an apps file that changes, a test event."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from tests.client import connect
from tests.integration.support import eventually, has_peers, total
from tests.processes import Node, Processes, free_ports
from tests.receiver import Answer, Receiver, run_receiver
from tests.webhook_apps import ENV, HOOKED, hooked_toml, subscribe


@dataclass(frozen=True, slots=True)
class Site:
    """Nodes, the receiver of their webhook, and a nursery for clients."""

    processes: Processes
    nodes: list[Node]
    receiver: Receiver
    nursery: trio.Nursery


def is_settled(node: Node) -> bool:
    """Whether the node is so old that who sends changes no more."""
    return time.time() - node.metrics()["process_start_time_seconds"] > 8


@asynccontextmanager
async def run_site(tmp_path: Path, nodes: int = 1, *answers: Answer, **env: str) -> AsyncIterator[Site]:
    """A cluster of this many nodes, whose app's webhook leads to a receiver that gives these answers."""
    (port,) = free_ports(1)
    async with run_receiver(*answers, port=port) as receiver, trio.open_nursery() as nursery:
        with Processes(tmp_path, hooked_toml(port), ENV | env) as processes:
            nats = (processes.start_nats(),) if nodes > 1 else ()
            started = processes.start_nodes(nodes, *nats, wait=False)
            for node in started:
                await trio.to_thread.run_sync(node.wait_ready)
            await eventually(lambda: all(has_peers(node, nodes - 1) for node in started), "all know each other")
            if nodes > 1:
                await eventually(
                    lambda: all(map(is_settled, started)), "the nodes are old enough to share the work for good"
                )
            yield Site(processes, started, receiver, nursery)
        nursery.cancel_scope.cancel()


def told(receiver: Receiver, name: str, channel: str) -> int:
    """How often an event of a channel came."""
    return sum((event["name"], event["channel"]) == (name, channel) for event in receiver.events)


def all_told(wanted: Iterable[tuple[str, str]], receiver: Receiver) -> bool:
    """Whether all of these events came."""
    return all(told(receiver, *event) for event in wanted)


async def test_event_comes_once_though_every_node_could_send_it(tmp_path: Path) -> None:
    """Twenty channels and their members, on three nodes in turn."""
    channels = [f"presence-{number}" for number in range(20)]
    async with run_site(tmp_path, 3) as site:
        clients = [await connect(site.nursery, HOOKED, node.port) for node in site.nodes]
        for number, channel in enumerate(channels):
            for client in (clients[number % 3], clients[(number + 1) % 3]):
                await subscribe(client, channel, "ann")
        wanted = [(name, channel) for name in ("channel_occupied", "member_added") for channel in channels]
        await site.receiver.wait_for(partial(all_told, wanted))
        for client in clients:
            await client.close()
        wanted += [(name, channel) for name in ("channel_vacated", "member_removed") for channel in channels]
        await site.receiver.wait_for(partial(all_told, wanted))
        assert all(told(site.receiver, *event) == 1 for event in wanted)
        senders = [node for node in site.nodes if total(node, "usher_webhook_events_total")]
        assert len(senders) > 1


async def test_events_come_at_least_once_when_a_node_is_killed(tmp_path: Path) -> None:
    """What was on it ends, and what begins at the moment of its death is told too, whoever had to send it."""
    async with run_site(tmp_path, 3) as site:
        victim, other, _ = site.nodes
        here, there = [await connect(site.nursery, HOOKED, node.port) for node in (victim, other)]
        for number in range(10):
            await subscribe(here, f"here-{number}")
        await site.receiver.wait_for(lambda it: all(told(it, "channel_occupied", f"here-{n}") for n in range(10)))
        for number in range(10):
            await subscribe(there, f"there-{number}")
        victim.send_signal(signal.SIGKILL)
        wanted = [("channel_vacated", f"here-{number}") for number in range(10)]
        wanted += [("channel_occupied", f"there-{number}") for number in range(10)]
        await site.receiver.wait_for(partial(all_told, wanted), 30)


async def test_node_that_stops_leaves_nothing_untold(tmp_path: Path) -> None:
    """The others go on where it stopped; the last one tells the rest itself."""
    async with run_site(tmp_path, 2) as site:
        for number, node in enumerate(site.nodes):
            client = await connect(site.nursery, HOOKED, node.port)
            channels = [f"node-{number}-{channel}" for channel in range(5)]
            for channel in channels:
                await subscribe(client, channel)
            await site.receiver.wait_for(partial(all_told, [("channel_occupied", channel) for channel in channels]))
        for number, node in enumerate(site.nodes):
            node.send_signal(signal.SIGTERM)
            await trio.to_thread.run_sync(node.wait_stopped)
            wanted = [("channel_vacated", f"node-{number}-{channel}") for channel in range(5)]
            await site.receiver.wait_for(partial(all_told, wanted))
        assert all(told(site.receiver, *event) == 1 for event in wanted)


async def test_events_wait_for_a_backend_that_is_away(tmp_path: Path) -> None:
    """And come in their order."""
    async with run_site(tmp_path, 1, 500, "close", 302, 200) as site:
        client = await connect(site.nursery, HOOKED, site.nodes[0].port)
        await subscribe(client, "presence-a", "ann")
        await site.receiver.wait_for(lambda it: len(it.requests) >= 4)
        await eventually(lambda: total(site.nodes[0], "usher_webhook_events_total") >= 2, "the backend took the events")
        assert total(site.nodes[0], "usher_webhook_retries_total") >= 3
        assert (
            site.receiver.requests[0].headers["x-pusher-signature"]
            != site.receiver.requests[3].headers["x-pusher-signature"]
        )
        assert all("hook" not in line and "presence-a" not in line for line in site.nodes[0].log.problems(0))


async def test_webhook_that_leaves_the_file_is_sent_nothing_more(tmp_path: Path) -> None:
    """And one that comes back is sent what happens from then on."""
    async with run_site(tmp_path) as site:
        (node,) = site.nodes
        client = await connect(site.nursery, HOOKED, node.port)
        await subscribe(client, "before")
        await site.receiver.wait_for(lambda it: told(it, "channel_occupied", "before"))
        site.processes.apps_path.write_text(hooked_toml())
        await eventually(lambda: "apps reloaded" in node.log.read(), "reloaded")
        await trio.sleep(0.2)
        await subscribe(client, "meanwhile")
        site.processes.apps_path.write_text(hooked_toml(site.receiver.port))
        await eventually(lambda: node.log.read().count("apps reloaded") == 2, "reloaded again")
        await trio.sleep(0.2)
        await subscribe(client, "after")
        await site.receiver.wait_for(lambda it: told(it, "channel_occupied", "after"))
        assert not told(site.receiver, "channel_occupied", "meanwhile")


async def test_command_sends_a_test_event(tmp_path: Path) -> None:
    """To each webhook, and says how it ended, without the URL."""
    (closed,) = free_ports(1)
    async with run_receiver() as receiver:
        apps = tmp_path / "apps.toml"
        apps.write_text(hooked_toml(receiver.port, closed))
        command = [sys.executable, "-m", "node", "webhooks", "test", "--app", HOOKED.app_id, "--apps", str(apps)]
        run = partial(subprocess.run, command, env=os.environ | ENV, capture_output=True, text=True, timeout=60, check=False)
        done: subprocess.CompletedProcess[str] = await trio.to_thread.run_sync(run)
        assert (done.returncode, done.stdout) == (1, "127.0.0.1: success\n127.0.0.1: unreachable\n")
        assert told(receiver, "channel_occupied", "usher-test") == 1
