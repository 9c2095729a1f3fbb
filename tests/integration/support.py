"""What the tests of this folder share: apps, polling with a deadline, sums of metrics, and clients by the dozen."""

import ssl
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial

import trio

from tests.api_client import ApiClient
from tests.client import Client, Credentials, connect
from tests.processes import NatsServer, Node, Processes, Program

APP = Credentials("1", "first-key", "first-secret")
OTHER_APP = Credentials("2", "second-key", "second-secret")


def apps_toml(*apps: Credentials, more: str = "") -> str:
    """The text of an apps file; `more` is added to each app."""
    return "\n".join(f'[[apps]]\nid = "{app.app_id}"\nkey = "{app.key}"\nsecret = "{app.secret}"\n{more}' for app in apps)


APPS = apps_toml(APP, OTHER_APP)


def start_three(processes: Processes, **env: str) -> tuple[NatsServer, list[Node]]:
    """One NATS and three nodes on it."""
    nats = processes.start_nats()
    return nats, processes.start_nodes(3, nats, env=env)


def names(prefix: str, count: int) -> list[str]:
    """User ids."""
    return [f"{prefix}{number}" for number in range(count)]


async def eventually(is_so: Callable[[], object], what: str, patience: float = 15.0) -> None:
    """Return when it is so, asked again and again. What is asked may block for a moment, as a look at /metrics does."""
    with trio.move_on_after(patience):
        while not is_so():
            await trio.sleep(0.05)
        return
    raise AssertionError(f"not within {patience} s: {what}")


async def all_of(*calls: Callable[[], Awaitable[object]]) -> None:
    """Do several things at once, and return when all are done."""
    async with trio.open_nursery() as nursery:
        for call in calls:
            nursery.start_soon(call)


async def ready(*programs: Program) -> None:
    """Return when programs that are starting are ready."""
    await all_of(*(partial(trio.to_thread.run_sync, program.wait_ready) for program in programs))


def total(node: Node, name: str) -> float:
    """A metric of a node, summed over its labels; 0 if it has no sample yet."""
    return sum(value for sample, value in node.metrics().items() if sample.partition("{")[0] == name)


def has_peers(node: Node, count: int) -> bool:
    """Whether a node knows of so many others, by its gauge, which follows within half a second."""
    return total(node, "usher_peers") == count


def status(node: Node, path: str = "/readyz") -> int:
    """The status that the operations port answers with; 0 if it does not answer."""
    try:
        with urllib.request.urlopen(f"{node.ops_url}{path}", timeout=2) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


async def signed_in(nursery: trio.Nursery, node: Node, users: Iterable[str], watchlist: Iterable[str] = ()) -> list[Client]:
    """One client for each user, all signing in at once on one node."""
    clients = {user: await connect(nursery, APP, node.port) for user in users}
    await all_of(*(partial(client.sign_in, user, list(watchlist)) for user, client in clients.items()))
    return list(clients.values())


@asynccontextmanager
async def api(node: Node, app: Credentials = APP, tls: ssl.SSLContext | None = None) -> AsyncIterator[ApiClient]:
    """The HTTP API of a node."""
    client = ApiClient(app, node.port, tls=tls)
    try:
        yield client
    finally:
        await client.aclose()


async def counted(node: Node, *users: str) -> dict[str, int]:
    """How many connections the users have, as this node tells."""
    async with api(node) as backend:
        return {user: await backend.connections(user) for user in users}


async def count_becomes(node: Node, expected: Mapping[str, int], patience: float = 5.0) -> None:
    """Return when this node tells so many connections of each user.

    The holders of a user learn of a new one a moment after its client learns of its success: until then one may miss.
    """
    told: dict[str, int] = {}
    with trio.move_on_after(patience):
        while (told := await counted(node, *expected)) != expected:
            await trio.sleep(0.05)
        return
    raise AssertionError(f"expected {expected}, told {told}")
