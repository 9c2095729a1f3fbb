"""What a node may do on NATS, at the least, and what that keeps from strangers; cluster/README.md has the page."""

import json
import signal
from pathlib import Path

import pytest
import trio

from tests.integration.nats_wire import converse
from tests.integration.support import api, eventually, signed_in, status
from tests.processes import NatsServer, Node, Processes

LEAST = '{ publish: "usher.1.>", subscribe: "usher.1.>" }'
NODE_ENV = {"USHER_NATS__USER": "usher", "USHER_NATS__PASSWORD": "open-sesame"}
USERS = f"""
authorization {{
  users: [
    {{ user: usher, password: open-sesame, permissions: {LEAST} }}
    {{ user: neighbour, password: other, permissions: {{ publish: "app.>", subscribe: ["app.>", "_INBOX.>"] }} }}
  ]
}}
"""
ACCOUNTS = f"""
accounts {{
  usher: {{ users: [ {{ user: usher, password: open-sesame, permissions: {LEAST} }} ] }}
  others: {{ users: [ {{ user: neighbour, password: other }} ] }}
}}
"""


def configure(processes: Processes, config: str) -> Path:
    """Write the server's file; a running one reloads it on SIGHUP if it finds its name in there."""
    path = Path(processes.directory) / "nats.conf"
    path.write_text(f"server_name: nats\n{config}")
    return path


def start_nats(processes: Processes, config: str) -> NatsServer:
    """Start a nats-server with this configuration."""
    path = configure(processes, config)
    server = NatsServer("nats", processes.directory, arguments=("--config", str(path)))
    processes.start(server)
    server.wait_ready()
    return server


async def do_everything(one: Node, other: Node) -> None:
    """All that nodes say to each other: presence, events, questions, termination."""
    async with trio.open_nursery() as nursery, api(other) as backend:
        (watcher,) = await signed_in(nursery, one, ["watcher"], ["user"])
        (user,) = await signed_in(nursery, one, ["user"])
        (second,) = await signed_in(nursery, other, ["user"])
        await watcher.until(lambda: watcher.view["user"])
        assert (await backend.send_to_user("user", "event", "data")).status == 200
        await user.until(lambda: len(user.events) == 1)
        await second.until(lambda: len(second.events) == 1)
        assert await backend.connections("user") == 2
        await backend.terminate("user")
        await watcher.until(lambda: not watcher.view["user"])
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("config", [USERS, ACCOUNTS], ids=["users", "accounts"])
async def test_nodes_work_with_the_least_permissions(processes: Processes, config: str) -> None:
    """One pattern, to publish and to subscribe; NATS complains of nothing."""
    nats = start_nats(processes, config)
    one, other = processes.start_nodes(2, nats, env=NODE_ENV)
    await do_everything(one, other)
    for program in (nats, one, other):
        assert "ermissions" not in program.log.read()


async def test_a_neighbour_on_the_same_nats_can_neither_hear_nor_speak(processes: Processes) -> None:
    """NATS refuses its interest in the nodes' subjects, and what it publishes there."""
    nats = start_nats(processes, USERS)
    one, other = processes.start_nodes(2, nats, env=NODE_ENV)
    heard = await converse(nats, "neighbour", "other", "SUB usher.1.> 1", "SUB > 2", "PUB usher.1.nodes 2\r\nhi")
    assert heard.count(b"Permissions Violation for Subscription") == 2
    assert b"Permissions Violation for Publish" in heard
    await do_everything(one, other)


async def test_a_neighbour_in_another_account_hears_nothing(processes: Processes) -> None:
    """It may ask for everything: it gets what is of its own account."""
    nats = start_nats(processes, ACCOUNTS)
    one, other = processes.start_nodes(2, nats, env=NODE_ENV)

    async def act() -> None:
        await do_everything(one, other)

    heard = await converse(nats, "neighbour", "other", "SUB > 1", "PUB usher.1.nodes 2\r\nhi", meanwhile=act)
    assert heard.count(b"MSG ") == 1, "its own"
    assert "undecodable" not in one.log.read()


async def test_node_is_not_ready_and_says_why_when_it_lacks_a_permission(processes: Processes) -> None:
    """A pattern for another prefix, as after a copy and paste; mended without a restart of the node."""
    wrong = USERS.replace("usher.1.>", "asher.1.>")
    nats = start_nats(processes, wrong)
    (node,) = processes.start_nodes(1, nats, env=NODE_ENV, wait=False)
    await eventually(lambda: "ermissions" in node.log.read(), "the node says what is wrong")
    assert "connected to NATS" not in node.log.read()
    line = next(json.loads(line) for line in node.log.read().splitlines() if "ermissions" in line)
    assert line["level"] == "warning"
    assert (status(node), status(node, "/livez")) == (503, 200)
    configure(processes, USERS)
    nats.send_signal(signal.SIGHUP)
    await eventually(lambda: status(node) == 200, "the node is ready")
