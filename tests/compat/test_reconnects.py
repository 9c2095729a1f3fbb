"""The node under pusher-js dies: everything is subscribed again elsewhere, and nobody sees the members flicker (11).

The nodes are the test's own. When one is dead, its port leads to the other, as a load balancer would see to.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.compat.apps import APPS, user_data
from tests.compat.backend import Backend
from tests.compat.browser import Browser, Tab
from tests.compat.conftest import BackendAt
from tests.compat.test_channels import SUCCEEDED
from tests.compat.test_sdk_channels import subscribe
from tests.integration.links import run_link
from tests.processes import Node, Processes

KINDS = ("", "private-", "presence-", "private-encrypted-")
CHANNELS_OF_EACH_KIND = [f"{kind}{cache}room" for kind in KINDS for cache in ("", "cache-")]
GONER = {"name": "Änn"}
LINGER = "5"
"""Longer than a busy machine takes to come back."""


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    """Two nodes on a NATS of their own; the one that lives logs no problem."""
    with Processes(tmp_path, APPS, {"USHER_PRESENCE__LINGER": LINGER}) as processes:
        doomed, other = processes.start_nodes(2, processes.start_nats())
        with processes.no_problems():
            yield doomed, other


async def until(tab: Tab, is_last: Callable[[list[list[Any]]], bool]) -> list[list[Any]]:
    """What the tab sees until it has seen enough."""
    seen: list[list[Any]] = []
    while not is_last(seen):
        seen.append(await tab.next())
    return seen


def is_subscribed(seen: list[list[Any]]) -> bool:
    """Whether a channel of each kind has succeeded, and a kept event has come with each that keeps one."""
    come = {report[0] for report in seen if report[1:2] == [SUCCEEDED]}
    kept = {report[0] for report in seen if report[1:2] == ["kept"]}
    return come == set(CHANNELS_OF_EACH_KIND) and kept == set(filter(keeps, CHANNELS_OF_EACH_KIND))


def keeps(channel: str) -> bool:
    """Whether it is a cache channel."""
    return "cache-" in channel


async def publish(backend: Backend, event: str, channels: Iterable[str]) -> None:
    """One event to each channel; encrypted ones want a request of their own."""
    for channel in channels:
        assert await backend.call("trigger", channel, event, {}) == {}


@pytest.mark.parametrize("library", ["pusher-js", "laravel-echo"])
async def test_tab_subscribes_to_everything_again_when_its_node_dies(
    browser: Browser, pair: tuple[Node, Node], backend: BackendAt, nursery: trio.Nursery, library: str
) -> None:
    """It signs in, is a member, hears what is kept and what is new; others see only who did not return leave."""
    doomed, other = pair
    api = backend(other)
    await publish(api, "kept", filter(keeps, CHANNELS_OF_EACH_KIND))
    tab = await browser.sign_in(doomed, "ann", library=library)
    for channel in CHANNELS_OF_EACH_KIND:
        await tab.subscribe(channel, {"user_id": 7} if channel == "presence-room" else None)
    await until(tab, is_subscribed)
    await subscribe(nursery, doomed, "presence-room", "goner")
    witness = await browser.open(other, library=library)
    await witness.subscribe("presence-room", {"user_id": "bob"})
    assert (await witness.next())[2]["members"] == {"7": {}, "goner": GONER, "bob": {}}

    doomed.kill()
    await nursery.start(run_link, doomed.port, other.port, 0.0)
    seen = await until(tab, is_subscribed)
    assert ["signed in", user_data("ann")] in seen
    members = {report[0]: set(report[2]["members"]) for report in seen if report[1:2] == [SUCCEEDED] and report[2]}
    assert members["presence-room"] >= {"7", "bob"}
    assert members["presence-cache-room"] == {"ann"}

    await witness.sees("presence-room", "pusher:member_removed", {"id": "goner", "info": GONER})
    await publish(api, "news", CHANNELS_OF_EACH_KIND)
    await witness.sees("presence-room", "news", {})
    heard = await until(tab, lambda seen: seen[-1:] == [[CHANNELS_OF_EACH_KIND[-1], "news", {}]])
    assert [report[0] for report in heard if report[1:2] == ["news"]] == CHANNELS_OF_EACH_KIND
    await tab.disconnect()
    nursery.cancel_scope.cancel()
