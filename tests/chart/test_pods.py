"""The rendered pods run: real nodes and NATS servers with the chart's own variables, files, probes, hooks and grace.

Clients come through the Service and behave as pusher-js does. Whatever leaves: nobody is told that a user is offline who is
on the way back, everybody gets events again, and it leaves with 0 within its grace. Whatever is killed: only its own
clients notice.
"""

import base64
import signal
from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.api_client import ApiClient
from tests.chart import volumes
from tests.chart.helm import Object, Rendering, render
from tests.chart.machine import Machine, running_release
from tests.chart.pods import Pod, run_once
from tests.client import Client, Credentials, all_until, connect
from tests.integration.support import all_of, eventually

pytestmark = [
    pytest.mark.skipif(bool(volumes.why_not()), reason=volumes.why_not()),
    pytest.mark.slow,
    pytest.mark.timeout(240),
]

APP = Credentials("1", "web", "hush")
USERS = [f"user-{number}" for number in range(24)]
VALUES: Object = {
    "apps": {"list": [{"id": APP.app_id, "key": APP.key, "secret": APP.secret}]},
    "replicas": 3,
    "minReadySeconds": 1,
    "preStopSleepSeconds": 1,
    "config": {"drain": {"delay": 1, "spread": 3, "timeout": 5}},
    "nats": {"bundled": {"lameDuck": {"gracePeriodSeconds": 1}}},
}


class People:
    """Users who come back whenever they lose their connection, each of whom watches all others."""

    def __init__(self, machine: Machine, clients: dict[str, Client]) -> None:
        self._machine = machine
        self.clients = clients

    def offlines(self) -> list[tuple[str, str]]:
        """Who was told, after having seen somebody online, that they are offline."""
        found = []
        for name, client in self.clients.items():
            seen: set[str] = set()
            for change in client.changes:
                if change.online:
                    seen.add(change.user)
                elif change.user in seen:
                    found.append((name, change.user))
        return found

    async def are_well(self, *, away: Collection[str] = ()) -> None:
        """Everybody is signed in, sees everybody, gets an event, and was never told of an offline that was none.

        `away` are those who really were: of them, it may have been told.
        """
        clients = list(self.clients.values())
        await all_until(clients, lambda client: client.signed_in)
        await all_until(clients, lambda client: all(client.view.get(user) for user in self.clients))
        before = {user: len(client.events) for user, client in self.clients.items()}
        await all_of(*(partial(self._send, user) for user in self.clients))
        for user, client in self.clients.items():
            await client.until(lambda client=client, user=user: len(client.events) > before[user])  # type: ignore[misc]
        assert [pair for pair in self.offlines() if pair[1] not in away] == []

    async def _send(self, user: str) -> None:
        backend = ApiClient(APP, self._machine.port)
        response = await backend.send_to_user(user, "hello", user)
        assert response.status == 200, response
        await backend.aclose()


@asynccontextmanager
async def people(machine: Machine, users: list[str] = USERS) -> AsyncIterator[People]:
    """So many of them, connected through the Service and signed in; no node may have logged a problem at the end."""
    async with trio.open_nursery() as nursery:
        clients = {user: await connect(nursery, APP, machine.port, comes_back=True) for user in users}
        await all_of(*(partial(client.sign_in, user, users) for user, client in clients.items()))
        crowd = People(machine, clients)
        await crowd.are_well()
        yield crowd
        nursery.cancel_scope.cancel()
    assert {pod.name: found for pod in machine.pods if (found := pod.process.log.problems())} == {}


def left_in_time(machine: Machine) -> None:
    """Every pod that was deleted is gone, with 0, and with slack to spare."""
    leaving = [pod for pod in machine.pods if pod.terminating]
    assert leaving
    for pod in leaving:
        assert pod.departure is not None, pod.name
        assert (pod.departure.status, pod.departure.killed) == (0, False), pod.name
        assert pod.departure.seconds < pod.grace - 10, (pod.name, pod.departure, pod.grace)
        print(f"{pod.name} left in {pod.departure.seconds:.1f} s of {pod.grace} s")


async def all_gone(machine: Machine) -> None:
    """Return when every pod that was deleted is gone."""
    leaving = [pod for pod in machine.pods if pod.terminating]
    await eventually(lambda: all(pod.departure for pod in leaving), "deleted pods are gone", patience=60)


def settled(version: str = "1.34", **more: object) -> Rendering:
    """The release, with the same password each time, as `lookup` gives it; NATS could take this one for a number."""
    release = render(VALUES | more, version=version)
    release.one("Secret", "-nats-auth")["data"]["password"] = base64.b64encode(b"5k").decode()
    return release


async def test_users_notice_nothing_when_nodes_become_three_and_then_two(tmp_path: Path) -> None:
    """The new ones get new connections; the one that leaves sends its clients away. In the oldest Kubernetes."""
    async with running_release(tmp_path, settled("1.27", replicas=1)) as machine, people(machine) as crowd:
        await machine.nodes.scale(3)
        async with people(machine, [f"late-{number}" for number in range(12)]) as late:
            await crowd.are_well()
            await machine.nodes.scale(2)
            await all_gone(machine)
            await crowd.are_well()
            await late.are_well()
        left_in_time(machine)


async def test_users_notice_nothing_when_every_node_is_replaced(tmp_path: Path) -> None:
    """A rolling upgrade, with settings that are new. Every connection is closed with 4200, and over time."""
    async with running_release(tmp_path, settled()) as machine, people(machine) as crowd:
        old = machine.nodes.pods
        machine.apply(settled(config=VALUES["config"] | {"log": {"level": "debug"}}))
        await machine.nodes.roll()
        await all_gone(machine)
        await crowd.are_well()
        assert all(pod.departure for pod in old)
        assert len(machine.nodes.pods) == 3
        assert {end.code for client in crowd.clients.values() for end in client.ended} == {4200}
        left_in_time(machine)


async def test_users_notice_nothing_when_a_node_is_killed(tmp_path: Path) -> None:
    """Its container is started again in its place; who does not come back is offline, once.

    Its own clients come back after a second, as after any close without a word, and a death is certain within one to three:
    watchers may or may not hear of that second. Of users on other nodes they never hear anything.
    """
    async with running_release(tmp_path, settled()) as machine, people(machine) as crowd, trio.open_nursery() as nursery:
        victim = machine.nodes.pods[0]
        gone = await connect_to(nursery, machine, victim)
        await gone.sign_in("gone")
        watcher = await connect_to(nursery, machine, machine.nodes.pods[1])
        await watcher.sign_in("watcher", ["gone"])
        victim.process.kill()
        await watcher.until(lambda: watcher.changes_of("gone") == [True, False], patience=6)
        await victim.until_ready()
        victims = {user for user, client in crowd.clients.items() if client.ended}
        assert 0 < len(victims) < len(USERS)
        await crowd.are_well(away=victims)
        print(
            f"{len(victims)} users were on the node, {len({user for _, user in crowd.offlines()})} were told to be offline"
        )
        assert max(Counter(crowd.offlines()).values(), default=0) <= 1
        assert (victim.restarts, watcher.changes_of("gone")) == (1, [True, False])
        nursery.cancel_scope.cancel()


async def connect_to(nursery: trio.Nursery, machine: Machine, pod: Pod) -> Client:
    """A client on this very pod, that does not come back."""
    others = [other for other in machine.nodes.pods if other is not pod]
    readiness = [other.ready for other in others]
    for other in others:
        other.ready = False
    client = await connect(nursery, APP, machine.port)
    for other, was_ready in zip(others, readiness, strict=True):
        other.ready = was_ready
    return client


async def test_users_notice_nothing_when_a_nats_server_is_killed(tmp_path: Path) -> None:
    """Nodes go to another, and it is started again."""
    async with running_release(tmp_path, settled()) as machine, people(machine) as crowd:
        victim = machine.nats.pods[0]
        victim.process.kill()
        await victim.until_ready()
        await crowd.are_well()
        assert victim.restarts == 1


async def test_users_notice_nothing_when_a_nats_server_is_replaced(tmp_path: Path) -> None:
    """It leaves by its lame duck, SIGTERM notwithstanding, and comes back at another address under its name."""
    async with running_release(tmp_path, settled()) as machine, people(machine) as crowd:
        departure = await machine.nats.replace(1)
        await crowd.are_well()
        assert "lame duck" in machine.pods[1].process.log.read().lower()
        assert not departure.killed
        left_in_time(machine)


async def test_helm_test_signs_a_user_in_through_the_service(tmp_path: Path) -> None:
    """The very pod of the hook; and it fails where nobody can sign in."""
    impatient = VALUES["config"] | {"cluster": {"confirm_timeout": 1}}
    async with running_release(tmp_path, settled(replicas=2, config=impatient)) as machine:
        spec = machine.release.one("Pod", "-test-sign-in")["spec"]
        run = partial(run_once, machine.release, spec, tmp_path, machine.hosts)
        done = await trio.to_thread.run_sync(run)
        assert (done.returncode, done.stderr) == (0, ""), done
        for pod in machine.nats.pods:
            pod.process.send_signal(signal.SIGSTOP)
        done = await trio.to_thread.run_sync(run)
        assert done.returncode == 1, done
        assert done.stderr.startswith("usher: "), done


async def test_apps_change_without_a_restart(tmp_path: Path) -> None:
    """A new app is known, and the connections of the old one stay, when its Secret is written anew."""
    async with running_release(tmp_path, settled(replicas=1)) as machine, people(machine, USERS[:3]) as crowd:
        new = {"id": "2", "key": "new", "secret": "quiet"}
        machine.apply(settled(apps={"list": [*VALUES["apps"]["list"], new]}))

        async def knows_it() -> None:
            async with trio.open_nursery() as nursery:
                while not (await connect(nursery, Credentials("2", "new", "quiet"), machine.port)).socket_id:
                    await trio.sleep(0.1)
                nursery.cancel_scope.cancel()

        with trio.fail_after(10):
            await knows_it()
        await crowd.are_well()
        assert [client.ended for client in crowd.clients.values()] == [[]] * 3
        assert machine.nodes.pods[0].restarts == 0
