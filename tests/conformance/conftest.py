"""Every test runs against every transport; long tables of cases run whole where it makes a difference.

A decoder sees the same bytes behind each stream of Trio's, so `tcp` stands for them all, and TLS and memory get a part.
"""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from node.transport.settings import TransportSettings
from tests.conformance.sites import SITES, Site

Start = Callable[..., Awaitable[Site]]

_IN_PART = ("memory", "tls")
_PART = 8  # one case of so many


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out most cases of each table at the sites that only need a part of it; the first one always stays."""
    seen, left_out = Counter[tuple[str, str]](), list[pytest.Item]()
    for item in items:
        params = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        site = params.get("start")
        if Path(__file__).parent not in item.path.parents or site not in _IN_PART or len(params) < 2:
            continue
        test = (item.nodeid.partition("[")[0], site)
        if seen[test] % _PART:
            left_out.append(item)
        seen[test] += 1
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        dropped = set(left_out)
        items[:] = [item for item in items if item not in dropped]


@pytest.fixture(params=sorted(SITES))
async def start(request: pytest.FixtureRequest, nursery: trio.Nursery) -> AsyncIterator[Start]:
    """Start a site, with these settings."""
    sites: list[Site] = []

    async def start_site(**settings: Any) -> Site:
        settings.setdefault("linger_timeout", 0.05)  # TLS has no other way to learn that the client has read all
        sites.append(await SITES[request.param](nursery, TransportSettings(**settings)))
        return sites[-1]

    yield start_site
    for site in sites:
        await site.aclose()


@pytest.fixture
async def site(start: Start) -> Site:
    """A site with the settings a node has by default."""
    return await start()
