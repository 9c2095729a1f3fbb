"""Every way to reach NATS and to prove who one is; and what a node says when NATS does not believe it."""

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import nkeys
import pytest
import trio
import trustme

from tests.integration.nats_wire import Identity, credentials_text
from tests.integration.support import api, eventually, has_peers, ready, signed_in, status
from tests.processes import NatsServer, Node, Processes

UNLIMITED = dict.fromkeys(("subs", "conn", "leaf", "imports", "exports", "data", "payload"), -1)


@dataclass(frozen=True, slots=True)
class Way:
    """A nats-server's configuration, what nodes need for it, and what is almost right but wrong."""

    config: str
    right: Mapping[str, str]
    wrong: Mapping[str, str]
    secrets: tuple[str, ...] = ()


def user_and_password(directory: Path) -> Way:
    """A user of the server's configuration."""
    return Way(
        "authorization { user: usher, password: open-sesame }",
        {"USHER_NATS__USER": "usher", "USHER_NATS__PASSWORD": "open-sesame"},
        {"USHER_NATS__USER": "usher", "USHER_NATS__PASSWORD": "open-barley"},
        ("open-sesame", "open-barley"),
    )


def token(directory: Path) -> Way:
    """One token for everybody."""
    return Way(
        "authorization { token: open-sesame }",
        {"USHER_NATS__TOKEN": "open-sesame"},
        {"USHER_NATS__TOKEN": "open-barley"},
        ("open-sesame", "open-barley"),
    )


def nkey(directory: Path) -> Way:
    """The server knows a public key; the node has the seed in a file."""
    known, stranger = Identity(nkeys.PREFIX_BYTE_USER), Identity(nkeys.PREFIX_BYTE_USER)
    for name, identity in (("known", known), ("stranger", stranger)):
        (directory / name).write_bytes(identity.seed)
    return Way(
        f"authorization {{ users: [ {{ nkey: {known.public} }} ] }}",
        {"USHER_NATS__NKEY": str(directory / "known")},
        {"USHER_NATS__NKEY": str(directory / "stranger")},
        (known.seed.decode(), stranger.seed.decode()),
    )


def credentials(directory: Path) -> Way:
    """The server knows an operator, who vouches for an account, which vouches for the user."""
    operator, account = Identity(nkeys.PREFIX_BYTE_OPERATOR), Identity(nkeys.PREFIX_BYTE_ACCOUNT)
    usurper = Identity(nkeys.PREFIX_BYTE_ACCOUNT)
    for name, issuer in (("known", account), ("stranger", usurper)):
        user = Identity(nkeys.PREFIX_BYTE_USER)
        (directory / name).write_text(credentials_text(user, issuer.vouch_for(user, "user", UNLIMITED)))
    return Way(
        f"operator: {operator.vouch_for(operator, 'operator')}\nresolver: MEMORY\n"
        f"resolver_preload: {{ {account.public}: {operator.vouch_for(account, 'account', {'limits': UNLIMITED})} }}",
        {"USHER_NATS__CREDENTIALS": str(directory / "known")},
        {"USHER_NATS__CREDENTIALS": str(directory / "stranger")},
    )


def client_certificate(directory: Path) -> Way:
    """TLS, in which both sides show certificates of an authority of our own."""
    authority, other = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    for name, issuer, subject in (
        ("server", authority, "127.0.0.1"),
        ("known", authority, "usher@example.com"),
        ("stranger", other, "usher@example.com"),
    ):
        issuer.issue_cert(subject).private_key_and_cert_chain_pem.write_to_path(str(directory / f"{name}.pem"))
    server = directory / "server.pem"
    return Way(
        f'tls {{ cert_file: "{server}", key_file: "{server}", ca_file: "{directory / "ca.pem"}", verify: true }}',
        _tls_env(directory, "known"),
        _tls_env(directory, "stranger"),
    )


def _tls_env(directory: Path, name: str) -> dict[str, str]:
    certificate = str(directory / f"{name}.pem")
    files = {"CA": str(directory / "ca.pem"), "CERTIFICATE": certificate, "KEY": certificate}
    return {f"USHER_NATS__TLS__{key}": path for key, path in files.items()}


def configure(path: Path, config: str) -> None:
    """Write a nats-server's file; a running one reloads it on SIGHUP if it finds its name in there."""
    path.write_text(f"server_name: nats\n{config}\n")


def start_nats(processes: Processes, config: str) -> tuple[NatsServer, Path]:
    """Start a nats-server with a configuration file."""
    path = processes.directory / "nats.conf"
    configure(path, config)
    server = NatsServer("nats", processes.directory, arguments=("--config", str(path)))
    processes.start(server)
    server.wait_ready()
    return server, path


async def hear_each_other(one: Node, other: Node) -> None:
    """Two nodes are one cluster: an event passes, and a watcher sees."""
    async with trio.open_nursery() as nursery, api(other) as backend:
        (client,) = await signed_in(nursery, one, ["user"], ["friend"])
        await signed_in(nursery, other, ["friend"])
        await client.until(lambda: client.view["friend"])
        assert (await backend.send_to_user("user", "event", "data")).status == 200
        await client.until(lambda: len(client.events) == 1)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("make_way", [user_and_password, token, nkey, credentials, client_certificate])
async def test_nodes_reach_nats_by_every_way_and_no_other(
    processes: Processes, tmp_path: Path, make_way: Callable[[Path], Way]
) -> None:
    """Who cannot prove it is not ready, says why in a line, keeps trying, and tells no secret."""
    way = make_way(tmp_path)
    nats, _ = start_nats(processes, way.config)
    (stranger,) = processes.start_nodes(1, nats, env=way.wrong, wait=False)
    one, other = processes.start_nodes(2, nats, env=way.right)
    await hear_each_other(one, other)
    await eventually(partial(has_peers, one, 1), "the stranger is no peer")
    await eventually(lambda: '"NATS"' in stranger.log.read(), "the stranger says what is wrong")
    assert status(stranger) == 503
    assert status(stranger, "/livez") == 200
    assert await trio.to_thread.run_sync(stranger.stop) == 0
    for node in (one, other, stranger):
        assert not any(secret in node.log.read() for secret in way.secrets)


async def test_a_node_gets_in_when_nats_begins_to_believe_it(processes: Processes) -> None:
    """A password that is made right on the server needs no restart of the node."""
    nats, path = start_nats(processes, "authorization { user: usher, password: old }")
    env = {"USHER_NATS__USER": "usher", "USHER_NATS__PASSWORD": "new"}
    one, other = processes.start_nodes(2, nats, env=env, wait=False)
    await eventually(lambda: '"NATS"' in one.log.read() and '"NATS"' in other.log.read(), "both were refused")
    configure(path, "authorization { user: usher, password: new }")
    nats.send_signal(signal.SIGHUP)
    await eventually(lambda: status(one) == status(other) == 200, "both are in")
    await hear_each_other(one, other)


async def test_a_node_returns_when_nats_ceased_to_believe_it_for_a_while(processes: Processes) -> None:
    """A rotation that reaches the server first, and is taken back."""
    nats, path = start_nats(processes, "authorization { user: usher, password: one }")
    env = {"USHER_NATS__USER": "usher", "USHER_NATS__PASSWORD": "one", "USHER_NATS__READY_GRACE": "0"}
    nodes = processes.start_nodes(2, nats, env=env)
    configure(path, "authorization { user: usher, password: two }")
    nats.send_signal(signal.SIGHUP)
    await eventually(lambda: all(status(node) == 503 for node in nodes), "both are out")
    configure(path, "authorization { user: usher, password: one }")
    nats.send_signal(signal.SIGHUP)
    await eventually(lambda: all(status(node) == 200 for node in nodes), "both are in again")
    await hear_each_other(*nodes)


async def test_a_node_finds_the_server_that_lives_among_those_that_do_not(processes: Processes) -> None:
    """The order in the setting means nothing."""
    dead, living, dead_too = (processes.start_nats() for _ in range(3))
    dead.kill()
    dead_too.kill()
    one, other = processes.start_nodes(1, dead, living, dead_too)[0], processes.start_nodes(1, dead_too, dead, living)[0]
    await hear_each_other(one, other)


async def test_clusters_with_different_prefixes_do_not_hear_each_other(processes: Processes) -> None:
    """Same NATS, same apps, same users: two worlds."""
    nats = processes.start_nats()
    here = processes.start_nodes(2, nats, env={"USHER_NATS__PREFIX": "blue"}, wait=False)
    there = processes.start_nodes(2, nats, env={"USHER_NATS__PREFIX": "green.v2", "USHER_CLUSTER__SHARDS": "16"}, wait=False)
    await ready(*here, *there)
    async with trio.open_nursery() as nursery, api(here[0]) as backend, api(there[0]) as other_backend:
        (watcher,) = await signed_in(nursery, here[0], ["watcher"], ["user"])
        (other_watcher,) = await signed_in(nursery, there[0], ["watcher"], ["user"])
        (user,) = await signed_in(nursery, here[1], ["user"])
        await watcher.until(lambda: watcher.view["user"])
        assert (await backend.connections("user"), await other_backend.connections("user")) == (1, 0)
        assert (await other_backend.send_to_user("user", "event", "from there")).status == 200
        await other_backend.terminate("user")
        assert (await backend.send_to_user("user", "event", "from here")).status == 200
        await user.until(lambda: user.events)
        assert [told.data for told in user.events] == ["from here"]
        assert other_watcher.changes_of("user") == [False]
        for node in (*here, *there):
            await eventually(partial(has_peers, node, 1), "each has one peer")
        nursery.cancel_scope.cancel()
