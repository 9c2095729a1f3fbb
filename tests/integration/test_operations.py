"""What operators do and see: start, stop, reload, readiness, metrics, TLS, and a node alone."""

import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pytest
import trio
import trustme

from cluster.envelope import Heartbeat, encode
from cluster.subjects import Subjects
from tests.client import Credentials, Refused, all_until, connect
from tests.integration.nats_wire import publish
from tests.integration.support import (
    APP,
    APPS,
    OTHER_APP,
    api,
    apps_toml,
    eventually,
    has_peers,
    ready,
    signed_in,
    status,
    total,
)
from tests.processes import Node, Processes, free_ports

PROMTOOL = shutil.which("promtool")
NEW_APP = Credentials("3", "third-key", "third-secret")
OFFLINE_AFTER_GOODBYE = 2.5  # a second of linger, and room


def test_a_node_says_on_one_line_where_it_accepts_connections(tmp_path: Path) -> None:
    """Whoever started it reads that line, connects, and stops it by Ctrl-C; there is no other, and the status is 0."""
    (tmp_path / "apps.toml").write_text(APPS)
    (ops_port,) = free_ports(1)
    command = (sys.executable, "-m", "node", "serve", "--port", "0", "--ops-port", str(ops_port))
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            found = re.fullmatch(r"usher \w+ accepts connections on (http://127\.0\.0\.1:\d+)\n", line)
            assert found, line
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(found[1], timeout=5)
        finally:
            process.send_signal(signal.SIGINT)
        assert process.stdout.read() == ""
        assert process.wait(15) == 0


async def test_a_node_sends_its_clients_elsewhere_and_says_goodbye_when_it_is_told_to_stop(processes: Processes) -> None:
    """4200 makes clients come back at once, on another node: nobody is told of those. The others are offline soon."""
    nats = processes.start_nats()
    leaving, second, third = processes.start_nodes(3, nats)
    async with trio.open_nursery() as nursery:
        mover = await connect(nursery, APP, leaving.port, second.port, comes_back=True)
        await mover.sign_in("mover")
        (goer,) = await signed_in(nursery, leaving, ["goer"])
        watchers = [(await signed_in(nursery, node, ["watcher"], ["mover", "goer"]))[0] for node in (second, third)]

        told_at = trio.current_time()
        leaving.send_signal(signal.SIGTERM)
        await goer.until(lambda: goer.ended)
        assert goer.ended[0].code == 4200
        assert [told.data["code"] for told in goer.errors] == [4200]
        await all_until(watchers, lambda watcher: not watcher.view["goer"])
        for watcher in watchers:
            assert watcher.told[-1].at - told_at < OFFLINE_AFTER_GOODBYE
        assert await trio.to_thread.run_sync(leaving.wait_stopped) == 0

        for node in (second, third):
            await eventually(partial(_has_heard_goodbye, node), "the goodbye is heard")
        await mover.until(lambda: mover.sign_ins == 2)
        for watcher in watchers:
            assert (watcher.changes_of("mover"), watcher.changes_of("goer")) == ([True], [True, False])
        nursery.cancel_scope.cancel()


async def test_a_node_serves_until_the_delay_is_over_when_it_is_asked_to_drain(processes: Processes) -> None:
    """`POST /drain` is the first SIGTERM: not ready at once, serving still, then no more; a signal hurries."""
    nats = processes.start_nats()
    slow = {"USHER_DRAIN__DELAY": "60", "USHER_DRAIN__SPREAD": "60", "USHER_PRESENCE__DRAIN_LINGER": "60"}
    (leaving,) = processes.start_nodes(1, nats, env=slow)
    request = urllib.request.Request(f"{leaving.ops_url}/drain", method="POST")
    for _ in range(2):
        with urllib.request.urlopen(request, timeout=5) as response:
            assert json.load(response) == {"draining": True}
    assert (status(leaving), status(leaving, "/livez")) == (503, 200)
    async with trio.open_nursery() as nursery:
        (late,) = await signed_in(nursery, leaving, ["late"])
        async with api(leaving) as backend:
            assert (await backend.send_to_user("late", "still", "here")).status == 200
        await late.until(lambda: late.events)
        assert total(leaving, "usher_draining") == 1
        assert leaving.metrics()['usher_drain_stage{stage="delay"}'] == 1
        leaving.send_signal(signal.SIGTERM)
        await late.until(lambda: late.ended)
        assert late.ended[0].code == 4200
        assert await trio.to_thread.run_sync(leaving.wait_stopped) == 0
        nursery.cancel_scope.cancel()


async def test_a_node_exits_with_0_however_often_it_is_told_to_stop(processes: Processes) -> None:
    """Also by a signal that comes when it has stopped already, and only the process has yet to end."""
    nodes = processes.start_nodes(6)
    for node in nodes:
        while node.is_running:
            node.send_signal(signal.SIGTERM)
            await trio.sleep(0.002)
    assert [node.wait_stopped() for node in nodes] == [0] * len(nodes)


def _has_heard_goodbye(node: Node) -> bool:
    return '"why": "left"' in node.log.read()


async def test_apps_change_without_a_connection_lost_when_their_file_changes(processes: Processes) -> None:
    """An app that is gone refuses newcomers, and keeps whom it has; a new one is there."""
    (node,) = processes.start_nodes(1)
    async with trio.open_nursery() as nursery:
        old = await (await connect(nursery, OTHER_APP, node.port)).sign_in("old", ["new"])
        processes.apps_path.write_text(apps_toml(APP, NEW_APP))
        await eventually(lambda: "apps reloaded" in node.log.read(), "the file is read again")
        await (await connect(nursery, NEW_APP, node.port)).sign_in("new")
        newcomer = await connect(nursery, OTHER_APP, node.port)
        await newcomer.until(lambda: newcomer.ended)
        assert newcomer.ended[0].code == 4001
        async with api(node, OTHER_APP) as backend:
            assert (await backend.send_to_user("old", "event", "data")).status == 401
        await old.send("pusher:ping", {})
        await old.until(lambda: old.told[-1].event == "pusher:pong")
        assert old.changes_of("new") == [False]
        assert old.ended == []
        nursery.cancel_scope.cancel()


async def test_apps_are_read_at_once_on_sighup(processes: Processes) -> None:
    """Also when the file looks the same: same size, same time."""
    (node,) = processes.start_nodes(1)
    before = processes.apps_path.stat()
    text = processes.apps_path.read_text()
    rotated = Credentials(APP.app_id, APP.key, APP.secret.upper())
    processes.apps_path.write_text(text.replace(APP.secret, rotated.secret))
    os.utime(processes.apps_path, ns=(before.st_atime_ns, before.st_mtime_ns))
    async with trio.open_nursery() as nursery:
        client = await connect(nursery, rotated, node.port)
        with pytest.raises(Refused):
            await client.sign_in("somebody")
        node.send_signal(signal.SIGHUP)
        await eventually(lambda: "apps reloaded" in node.log.read(), "the file is read again")
        newcomer = await connect(nursery, rotated, node.port)
        await newcomer.sign_in("somebody")
        assert client.ended == []
        nursery.cancel_scope.cancel()


async def test_a_node_is_not_ready_while_the_bus_is_away(processes: Processes) -> None:
    """After the grace, and until it is back; it lives all the time."""
    nats = processes.start_nats()
    patient, strict = (
        *processes.start_nodes(1, nats, env={"USHER_NATS__READY_GRACE": "60"}),
        *processes.start_nodes(1, nats, env={"USHER_NATS__READY_GRACE": "0.5"}),
    )
    nats.kill()
    await eventually(lambda: status(strict) == 503, "the strict node is not ready")
    assert (status(patient), status(strict, "/livez")) == (200, 200)
    nats.start()
    await ready(nats)
    await eventually(lambda: status(strict) == 200, "the strict node is ready again")


async def test_a_node_starts_before_nats_and_is_ready_after_it(processes: Processes) -> None:
    """The order in which they are started does not matter."""
    nats = processes.start_nats()
    nats.kill()
    (node,) = processes.start_nodes(1, nats, wait=False)
    await eventually(lambda: status(node, "/livez") == 200, "the node lives")
    assert status(node) == 503
    nats.start()
    await ready(nats, node)


async def test_a_node_stops_when_it_is_told_to_while_it_waits_for_nats(processes: Processes) -> None:
    """It has no clients yet, so it is gone at once."""
    nats = processes.start_nats()
    nats.kill()
    (node,) = processes.start_nodes(1, nats, wait=False)
    await eventually(lambda: status(node) == 503, "the node waits for NATS")
    assert await trio.to_thread.run_sync(node.stop) == 0


def test_a_node_refuses_to_join_when_its_number_of_shards_differs(tmp_path: Path) -> None:
    """Two that count differently would misunderstand each other for ever."""
    with Processes(tmp_path, APPS) as processes:
        nats = processes.start_nats()
        processes.start_nodes(1, nats)
        (stranger,) = processes.start_nodes(1, nats, env={"USHER_CLUSTER__SHARDS": "128"}, wait=False)
        assert stranger.wait_stopped() == 1
        assert "cluster.shards = 128" in stranger.log.read()
        assert "Traceback" not in stranger.log.read()
        assert "accepts connections" not in stranger.log.read()


async def test_a_node_alone_does_everything(processes: Processes) -> None:
    """No other process is needed to sign in, watch, be told and be terminated."""
    (node,) = processes.start_nodes(1, env={"USHER_PRESENCE__LINGER": "0.1"})
    await use_everything(node)


async def test_a_node_ends_tls_itself(processes: Processes, tmp_path: Path) -> None:
    """For WebSockets and the API, on the same port."""
    authority, certificate = trustme.CA(), tmp_path / "node.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    env = {"USHER_TLS__CERTIFICATE": str(certificate), "USHER_TLS__KEY": str(certificate), "USHER_PRESENCE__LINGER": "0.1"}
    (node,) = processes.start_nodes(1, env=env)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    await use_everything(node, trusting)
    assert "accepts connections on https://" in node.log.read()
    assert total(node, "usher_certificate_expiry_timestamp_seconds") > time.time()
    assert node.metrics()[f'usher_build_info{{version="{version("usher-realtime")}"}}'] == 1


async def use_everything(node: Node, tls: ssl.SSLContext | None = None) -> None:
    """Every duty of a node towards two users."""
    async with trio.open_nursery() as nursery, api(node, tls=tls) as backend:
        watcher = await connect(nursery, APP, node.port, tls=tls)
        await watcher.sign_in("watcher", ["watched"])
        watched = await connect(nursery, APP, node.port, tls=tls)
        await watched.sign_in("watched")
        await watcher.until(lambda: watcher.changes_of("watched") == [False, True])
        assert (await backend.send_to_user("watched", "hello", "you")).status == 200
        await watched.until(lambda: [told.data for told in watched.events] == ["you"])
        assert await backend.connections("watched") == 1
        await backend.terminate("watched")
        await watched.until(lambda: watched.ended)
        assert watched.ended[0].code == 4200
        await watcher.until(lambda: watcher.changes_of("watched") == [False, True, False])
        assert await backend.connections("watched") == 0
        nursery.cancel_scope.cancel()


async def test_metrics_show_what_happened(processes: Processes) -> None:
    """Two users meet, are refused, are written to, are removed, and something is lost on the way."""
    nats = processes.start_nats()
    first, second = processes.start_nodes(2, nats)
    async with trio.open_nursery() as nursery, api(second) as backend:
        (watcher,) = await signed_in(nursery, first, ["watcher"], ["watched", "nobody"])
        (watched,) = await signed_in(nursery, second, ["watched"])
        with pytest.raises(Refused):
            await watched.sign_in("another")
        await watcher.until(lambda: watcher.view["watched"])
        for node, users in ((first, 1), (second, 1)):
            await eventually(partial(has_peers, node, 1), "gauges follow")
            assert total(node, "usher_connections") == total(node, "usher_signed_in_connections") == 1
            assert total(node, "usher_users_online_here") == users
            assert total(node, "usher_bus_connected") == 1
        assert total(first, "usher_watch_edges") == 2
        assert first.metrics()['usher_watchlist_events_total{name="online"}'] == 1
        assert second.metrics()['usher_signins_total{app="1",result="refused"}'] == 1
        assert second.metrics()['usher_signins_total{app="1",result="success"}'] == 1
        assert total(second, "usher_fence_seconds_count") >= 1

        await watcher.close()
        assert (await backend.send_to_user("watcher", "too", "late")).status == 200
        await eventually(lambda: total(first, "usher_bus_unclaimed_total") == 1, "the event found nobody")
        await backend.terminate("watched")
        await watched.until(lambda: watched.ended)
        assert total(second, "usher_terminations_total") == total(second, "usher_termination_seconds_count") == 1
        assert second.metrics()['usher_closes_total{code="4200"}'] == 1
        assert total(second, "usher_api_requests_total") == 2
        await eventually(lambda: total(first, "usher_connections") == 0, "gauges follow")
        nursery.cancel_scope.cancel()


async def test_a_lost_change_is_repaired_and_counted(processes: Processes) -> None:
    """A heartbeat names a change that was never heard: the shard is asked for again, and nobody is told a thing."""
    nats = processes.start_nats()
    first, second = processes.start_nodes(2, nats)
    async with trio.open_nursery() as nursery:
        (watcher,) = await signed_in(nursery, first, ["watcher"], ["watched"])
        await signed_in(nursery, second, ["watched"])
        await watcher.until(lambda: watcher.view["watched"])
        assert total(first, "usher_presence_repairs_total") == 0
        subjects = Subjects("usher", 256)
        beat = Heartbeat(_id_of(second), "", 1, subjects.shards, {subjects.stem("presence", APP.app_id, "watched"): 99})
        await publish(nats, subjects.nodes, encode(beat))
        await eventually(lambda: total(first, "usher_presence_repairs_total") >= 1, "the repair is counted")
        async with api(first) as backend:
            assert await backend.connections("watched") == 1
        assert watcher.changes_of("watched") == [False, True]
        nursery.cancel_scope.cancel()


def _id_of(node: Node) -> str:
    """The id that a node drew, as it announced it."""
    found = re.search(r"^usher (\w+) accepts", node.log.read(), re.MULTILINE)
    assert found
    return found[1]


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool here: apt-get install prometheus")
async def test_promtool_finds_nothing_wrong_with_the_metrics(processes: Processes) -> None:
    """With samples of all that a session leaves behind."""
    (node,) = processes.start_nodes(1, env={"USHER_PRESENCE__LINGER": "0.1"})
    await use_everything(node)
    check = partial(_check_metrics, f"{node.ops_url}/metrics")
    assert await trio.to_thread.run_sync(check) == (0, b"")


def _check_metrics(url: str) -> tuple[int, bytes]:
    """What promtool says, and its exit status."""
    with urllib.request.urlopen(url) as response:
        text = response.read()
    result = subprocess.run((PROMTOOL or "", "check", "metrics"), input=text, capture_output=True, check=False)
    return result.returncode, result.stdout + result.stderr
